package notifier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// memory is the smallest Store. fail, if set, is asked before every call.
type memory struct {
	mu            sync.Mutex
	notifications map[string]records.Notification
	conversions   map[string]records.Conversion
	fail          func(call string) error
	refuse        func(n *records.Notification) bool // never to be stored: set it before use
	lose          func(call string) bool             // the call works, and its answer is lost
	changed       chan struct{}                      // closed at every write and failed call
}

func newMemory() *memory {
	return &memory{notifications: map[string]records.Notification{}, conversions: map[string]records.Conversion{}, changed: make(chan struct{})}
}

var errAway = errors.New("store is away")

func (s *memory) begin(ctx context.Context, call string) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	signal := func() {
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
	if s.fail != nil {
		if err := s.fail(call); err != nil {
			signal()
			return nil, err
		}
	}
	return signal, nil
}

func (s *memory) breakWith(f func(call string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

func (s *memory) InsertNotification(ctx context.Context, n records.Notification) (bool, error) {
	end, err := s.begin(ctx, "insert")
	if err != nil {
		return false, err
	}
	defer end()
	if _, there := s.notifications[n.Key]; there {
		return false, nil
	}
	s.notifications[n.Key] = n
	return true, nil
}

func (s *memory) UpdateNotification(ctx context.Context, n records.Notification) error {
	end, err := s.begin(ctx, "update "+string(n.State))
	if err != nil {
		return err
	}
	defer end()
	if _, there := s.notifications[n.Key]; !there {
		return fmt.Errorf("no notification %s", n.Key)
	}
	if err := s.refused(&n); err != nil {
		return err
	}
	s.notifications[n.Key] = n
	if s.lose != nil && s.lose("update "+string(n.State)) {
		return errAway
	}
	return nil
}

func (s *memory) Notification(ctx context.Context, key string) (records.Notification, bool, error) {
	end, err := s.begin(ctx, "get")
	if err != nil {
		return records.Notification{}, false, err
	}
	defer end()
	n, ok := s.notifications[key]
	return n, ok, nil
}

func (s *memory) where(ctx context.Context, keep func(n *records.Notification) bool) ([]records.Notification, error) {
	end, err := s.begin(ctx, "find")
	if err != nil {
		return nil, err
	}
	defer end()
	all := slices.Collect(maps.Values(s.notifications))
	all = slices.DeleteFunc(all, func(n records.Notification) bool { return !keep(&n) })
	slices.SortFunc(all, func(a, b records.Notification) int {
		return cmp.Or(a.ReachedAt.Compare(b.ReachedAt), strings.Compare(a.Key, b.Key))
	})
	return all, nil
}

func (s *memory) DueNotifications(ctx context.Context, now time.Time, limit int) ([]records.Notification, error) {
	all, err := s.where(ctx, func(n *records.Notification) bool {
		return due(n, now)
	})
	return all[:min(limit, len(all))], err
}

func (s *memory) NotificationsOf(ctx context.Context, customer string) ([]records.Notification, error) {
	return s.where(ctx, func(n *records.Notification) bool { return n.Customer == customer })
}

func (s *memory) WriteConversion(ctx context.Context, c records.Conversion) error {
	end, err := s.begin(ctx, "convert")
	if err != nil {
		return err
	}
	defer end()
	s.conversions[c.Key] = c
	return nil
}

func (s *memory) DeleteConversion(ctx context.Context, key string) error {
	end, err := s.begin(ctx, "convert")
	if err != nil {
		return err
	}
	defer end()
	delete(s.conversions, key)
	return nil
}
