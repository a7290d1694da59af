// Package store holds the contract of the document stores: package mongo writes
// to MongoDB, package kv to NATS. Package storetest has the suite that both pass.
package store

import (
	"context"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// Store is what every store does. Roles declare the few methods that they
// need; this is their sum.
//
// Methods are safe for concurrent use and return when their context ends. A
// write that returned nil is durable, and seen by the reads that begin after
// it. A write that returned an error may have been stored, in part or whole:
// repeat it, every write may be repeated.
//
// Times are UTC and kept to the millisecond at least; a window's start is a
// whole millisecond. Epoch, Seq and Position stay below 1<<63. An empty slice
// or map may come back nil, and a nil one empty. A limit below 1 means no
// limit. IDs are compared byte by byte.
//
// Each document has one writing role. Should there be two writers (a stale
// owner that does not yet know it), conditional writes keep the newer state;
// no other write promises anything then.
type Store interface {
	// WriteUsage stores each window, unless the stored one of the same ID has
	// a greater (Epoch, Seq); an equal one is overwritten.
	WriteUsage(ctx context.Context, windows []records.Window) error
	// Usage returns a customer's windows by feature, then start.
	Usage(ctx context.Context, customer string) ([]records.Window, error)
	// UsageAfter returns the first current windows with an ID above afterID,
	// in order of ID. The windows of one customer need not be adjacent.
	UsageAfter(ctx context.Context, afterID string, limit int) ([]records.Window, error)
	// AllUsage calls f with every window, in any order, until f fails; that
	// error it returns. What is written meanwhile may be missed.
	AllUsage(ctx context.Context, f func(records.Window) error) error

	// WriteCustomers stores each customer, unless the stored one has a greater
	// Position.
	WriteCustomers(ctx context.Context, customers []records.Customer) error
	// Customer returns a customer; ok says whether there is one.
	Customer(ctx context.Context, id string) (c records.Customer, ok bool, err error)
	// Customers returns the first customers with an ID above afterID, in order
	// of ID.
	Customers(ctx context.Context, afterID string, limit int) ([]records.Customer, error)

	// WriteSubscriptions stores each subscription, unless the stored one has a
	// greater Position.
	WriteSubscriptions(ctx context.Context, subscriptions []records.Subscription) error
	// Subscription returns a customer's subscription; ok says whether there is
	// one.
	Subscription(ctx context.Context, customer string) (s records.Subscription, ok bool, err error)

	// InsertNotification stores n unless one of its Key is there; inserted
	// says whether it did. Of concurrent calls one inserts. After an error the
	// repeated call may find what the first one inserted.
	InsertNotification(ctx context.Context, n records.Notification) (inserted bool, err error)
	// UpdateNotification replaces the notification of n's Key; it fails when
	// there is none. Customer and ReachedAt do not change.
	UpdateNotification(ctx context.Context, n records.Notification) error
	// Notification returns a notification; ok says whether there is one.
	Notification(ctx context.Context, key string) (n records.Notification, ok bool, err error)
	// DueNotifications returns the first pending notifications whose NextAt is
	// nil or not after now, and waiting ones whose NextAt is not nil and not
	// after now, by ReachedAt, then Key.
	DueNotifications(ctx context.Context, now time.Time, limit int) ([]records.Notification, error)
	// NotificationsOf returns a customer's notifications by ReachedAt, then
	// Key.
	NotificationsOf(ctx context.Context, customer string) ([]records.Notification, error)
	// NotificationsBetween returns the notifications with from <= ReachedAt <
	// to, without their bodies, by ReachedAt, then Key; a zero time is no bound.
	NotificationsBetween(ctx context.Context, from, to time.Time) ([]records.Notification, error)

	// WriteConversion stores c in place of the one of its Key, if any.
	WriteConversion(ctx context.Context, c records.Conversion) error
	// DeleteConversion removes the conversion of a key, if it is there.
	DeleteConversion(ctx context.Context, key string) error
	// Conversions returns the conversions with from <= ConvertedAt < to, by
	// ConvertedAt, then Key; a zero time is no bound.
	Conversions(ctx context.Context, from, to time.Time) ([]records.Conversion, error)
	// ConversionsOf returns a customer's conversions by ConvertedAt, then Key.
	ConversionsOf(ctx context.Context, customer string) ([]records.Conversion, error)

	// Ping says whether the store answers; its error says what to do.
	Ping(ctx context.Context) error
	// Close gives back what Open took. No method may be called after it.
	Close(ctx context.Context) error
}
