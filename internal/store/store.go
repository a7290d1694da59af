// Package store holds the contract of the document stores. Package mongo
// implements it with MongoDB, package kv with NATS. Package storetest has the tests
// that both pass.
package store

import (
	"context"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// Store is a document store. Roles declare only the methods that they need; Store
// is the union of them.
//
// A Store is safe for concurrent use. Methods return when their context ends. A
// write that returned nil is durable, and reads that begin after it see it. A
// write that returned an error may have been stored in part or in whole; the
// caller may repeat it, as every write may be repeated.
//
// A document that the store can never hold does not keep others from being written:
// the write stores these and returns a *RefusedError, which names that one. An ID must
// not be empty: such a document is refused, and reads find none.
//
// Times are UTC with at least millisecond precision; a window's start is a
// whole millisecond. Epoch, Seq and Position stay below 1<<63. An empty slice
// or map may be returned as nil, and nil as empty. A limit below 1 means no limit.
// IDs are compared byte by byte.
//
// Each document has one writing role. When there are two writers (one of them an
// owner that does not know yet that it lost its lease), conditional writes keep
// the newer state; other writes guarantee nothing then.
type Store interface {
	// WriteUsage stores each window unless the stored window with its ID has a
	// greater (Epoch, Seq). It overwrites an equal one.
	WriteUsage(ctx context.Context, windows []records.Window) error
	// Usage returns a customer's windows by feature, then start.
	Usage(ctx context.Context, customer string) ([]records.Window, error)
	// UsageAfter returns the first current windows with an ID above afterID,
	// ordered by ID. The windows of one customer may not be adjacent.
	UsageAfter(ctx context.Context, afterID string, limit int) ([]records.Window, error)
	// AllUsage calls f with every window, in any order. It stops when f returns an
	// error, and returns that error. It may miss windows that are written
	// meanwhile.
	AllUsage(ctx context.Context, f func(records.Window) error) error

	// WriteCustomers stores each customer unless the stored one has a greater
	// Position.
	WriteCustomers(ctx context.Context, customers []records.Customer) error
	// Customer returns a customer. ok reports whether there is one.
	Customer(ctx context.Context, id string) (c records.Customer, ok bool, err error)
	// Customers returns the first customers with an ID above afterID, ordered by
	// ID.
	Customers(ctx context.Context, afterID string, limit int) ([]records.Customer, error)

	// WriteSubscriptions stores each subscription unless the stored one has a
	// greater Position.
	WriteSubscriptions(ctx context.Context, subscriptions []records.Subscription) error
	// Subscription returns a customer's subscription. ok reports whether there is
	// one.
	Subscription(ctx context.Context, customer string) (s records.Subscription, ok bool, err error)

	// InsertNotification stores n unless a notification with its Key exists.
	// inserted reports whether it did. Of concurrent calls one inserts. After an
	// error, a repeated call may find the notification of the first one.
	InsertNotification(ctx context.Context, n records.Notification) (inserted bool, err error)
	// UpdateNotification replaces the notification with n's Key. It returns an
	// error when there is none. Customer and ReachedAt must not change.
	UpdateNotification(ctx context.Context, n records.Notification) error
	// Notification returns a notification. ok reports whether there is one.
	Notification(ctx context.Context, key string) (n records.Notification, ok bool, err error)
	// DueNotifications returns the first pending notifications whose NextAt is
	// nil or not after now, and waiting ones whose NextAt is not nil and not
	// after now, ordered by ReachedAt, then Key.
	DueNotifications(ctx context.Context, now time.Time, limit int) ([]records.Notification, error)
	// NotificationsOf returns a customer's notifications by ReachedAt, then
	// Key.
	NotificationsOf(ctx context.Context, customer string) ([]records.Notification, error)
	// NotificationsBetween returns the notifications with from <= ReachedAt <
	// to, without their bodies, by ReachedAt, then Key; a zero time is no bound.
	NotificationsBetween(ctx context.Context, from, to time.Time) ([]records.Notification, error)

	// WriteConversion stores c. It replaces the conversion with its Key, if any.
	WriteConversion(ctx context.Context, c records.Conversion) error
	// DeleteConversion removes the conversion with a key, if there is one.
	DeleteConversion(ctx context.Context, key string) error
	// Conversions returns the conversions with from <= ConvertedAt < to, by
	// ConvertedAt, then Key; a zero time is no bound.
	Conversions(ctx context.Context, from, to time.Time) ([]records.Conversion, error)
	// ConversionsOf returns a customer's conversions by ConvertedAt, then Key.
	ConversionsOf(ctx context.Context, customer string) ([]records.Conversion, error)

	// Ping returns nil when the store answers. Its error says what to do.
	Ping(ctx context.Context) error
	// Close frees the resources of the store. No method may be called after it.
	Close(ctx context.Context) error
}
