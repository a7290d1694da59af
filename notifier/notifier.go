// Package notifier turns limit records into mails and payments into
// conversions. It is one stream.Processor over all of LIMITS and ACCOUNT, and
// the only writer of the collections notifications and conversions.
//
// A crossing becomes a document first, and the input moves on only when that
// is stored; its key makes every repeat the same document. A goroutine beside
// the processor sends what is pending: it looks at the newest decision at that
// moment, stores the exact bytes before the first try, and sends them under the
// document's key as idempotency key, so that a crash at any point leads to one
// mail. Each step from one state of a document to the next happens under one
// lock; the provider is never waited for under it.
package notifier

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// Store holds the documents. Methods are safe for concurrent use, and every
// write may be repeated.
type Store interface {
	// InsertNotification stores n unless one of its key is there.
	InsertNotification(ctx context.Context, n records.Notification) (inserted bool, err error)
	// UpdateNotification replaces the notification of n's key.
	UpdateNotification(ctx context.Context, n records.Notification) error
	Notification(ctx context.Context, key string) (n records.Notification, ok bool, err error)
	// DueNotifications returns the first ones, by ReachedAt, that are pending
	// and whose NextAt is nil or not after now, or that are waiting and whose
	// NextAt is not nil and not after now.
	DueNotifications(ctx context.Context, now time.Time, limit int) ([]records.Notification, error)
	NotificationsOf(ctx context.Context, customer string) ([]records.Notification, error)
	Conversions
}

// Conversions is the part of the Store that holds conversions, by key.
type Conversions interface {
	WriteConversion(ctx context.Context, c records.Conversion) error
	DeleteConversion(ctx context.Context, key string) error
}

// Decisions reads the newest decision, from the bucket itself and not from a
// cache. ok is false when the customer has none. Safe for concurrent use.
type Decisions interface {
	Decision(ctx context.Context, customer, feature string) (d events.Decision, ok bool, err error)
}

// Sender hands a mail to a provider. A repeat with the same key and bytes
// within a day sends no second mail. The error is a *SendError where what to
// do next is known; any other is tried again. Send is called by one goroutine.
type Sender interface {
	Send(ctx context.Context, m Mail) (providerID string, err error)
}

// Options is what the notifier needs. Fields without a remark are required.
type Options struct {
	Settings
	Catalog   func() gate.Catalog
	Store     Store
	Decisions Decisions
	Sender    Sender
	Now       func() time.Time
	Secret    []byte // signs links; empty: like no PublicURL
	// PollEvery is how often due mails are looked for without being told; 0 is
	// five seconds.
	PollEvery time.Duration
}

// New checks the options and reads the templates; a mistake in one is reported
// with its file and line.
func New(o Options) (*Processor, error) {
	l, err := newLive(o.Settings, o.Secret, o.Catalog)
	if err != nil {
		return nil, err
	}
	for name, missing := range map[string]bool{"Store": o.Store == nil, "Decisions": o.Decisions == nil, "Sender": o.Sender == nil, "Now": o.Now == nil} {
		if missing {
			return nil, fmt.Errorf("notifier: %s is required", name)
		}
	}
	if o.PollEvery == 0 {
		o.PollEvery = 5 * time.Second
	}
	p := &Processor{Options: o, kick: make(chan struct{}, 1), started: make(chan struct{}), stopped: make(chan struct{}), behind: map[string]time.Time{}}
	p.live.Store(l)
	p.seek.Store(l.Lookup != nil)
	return p, p.Restore(nil)
}
