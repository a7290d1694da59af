// Package notifier turns limit records into mails and payments into
// conversions. It is one stream.Processor over all of LIMITS and ACCOUNT, and
// the only writer of the collections notifications and conversions.
//
// A crossing of a limit becomes a document first. The input moves on only when the
// document is stored, and its key makes every repeat the same document. A goroutine
// beside the Processor sends the pending mails. It reads the newest decision, stores
// the exact bytes before the first attempt, and sends them with the document's key
// as idempotency key, so that a crash at any point leads to one mail. Every change
// of a document's state happens under one lock, which is never held while the
// provider is asked.
package notifier

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// Store holds the documents. Its methods must be safe for concurrent use, and every
// write may be repeated.
type Store interface {
	// InsertNotification stores n unless a notification with its key exists.
	InsertNotification(ctx context.Context, n records.Notification) (inserted bool, err error)
	// UpdateNotification replaces the notification with n's key.
	UpdateNotification(ctx context.Context, n records.Notification) error
	Notification(ctx context.Context, key string) (n records.Notification, ok bool, err error)
	// DueNotifications returns the first due notifications by ReachedAt. Pending ones
	// are due when NextAt is nil or not after now, waiting ones when NextAt is set and
	// not after now.
	DueNotifications(ctx context.Context, now time.Time, limit int) ([]records.Notification, error)
	NotificationsOf(ctx context.Context, customer string) ([]records.Notification, error)
	Conversions
}

// Conversions is the part of a Store for conversions, by key.
type Conversions interface {
	WriteConversion(ctx context.Context, c records.Conversion) error
	DeleteConversion(ctx context.Context, key string) error
}

// Decisions reads the newest decision from the bucket itself, not from a cache; ok
// is false when the customer has none. It must be safe for concurrent use.
type Decisions interface {
	Decision(ctx context.Context, customer, feature string) (d events.Decision, ok bool, err error)
}

// Sender hands a mail to a provider. Repeating a mail with the same key and bytes
// within a day must not send it twice. A *SendError says what to do next; after any
// other error there will be another attempt. Only one goroutine calls Send.
type Sender interface {
	Send(ctx context.Context, m Mail) (providerID string, err error)
}

// Keeper is a Sender that keeps the mails that it was given.
type Keeper interface {
	// Forget removes a mail by the provider id that Send returned. It is no error if
	// there is none.
	Forget(providerID string) error
}

// Options are the options of a notifier. Fields without a remark are required.
type Options struct {
	Settings
	Partitions int // of the streams
	Catalog    func() gate.Catalog
	Store      Store
	Decisions  Decisions
	Sender     Sender
	Now        func() time.Time
	Secret     []byte // signs links; empty: mails have no links of ours, as without PublicURL
	// PollEvery is how often the notifier looks for due mails when nothing wakes it;
	// 0: five seconds.
	PollEvery time.Duration
}

// New checks the options, reads the templates and returns a Processor. The error
// about a template names its file and line.
func New(o Options) (*Processor, error) {
	l, err := newLive(o.Settings, o.Secret, o.Catalog)
	if err != nil {
		return nil, err
	}
	for name, missing := range map[string]bool{"Partitions": o.Partitions == 0, "Store": o.Store == nil, "Decisions": o.Decisions == nil, "Sender": o.Sender == nil, "Now": o.Now == nil} {
		if missing {
			return nil, fmt.Errorf("notifier: %s is required", name)
		}
	}
	if o.PollEvery == 0 {
		o.PollEvery = 5 * time.Second
	}
	p := &Processor{Options: o, woken: make(chan struct{}, 1), started: make(chan struct{}), stopped: make(chan struct{}), behind: map[string]time.Time{}}
	p.live.Store(l)
	p.lookAgain.Store(l.Lookup != nil)
	return p, p.Restore(nil)
}
