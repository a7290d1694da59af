package mongo

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store"
)

// InsertNotification implements store.Store.
func (s *Store) InsertNotification(ctx context.Context, n records.Notification) (inserted bool, err error) {
	return s.insertOne(ctx, s.notifications, n.Key, newNotificationDoc(&n))
}

// UpdateNotification implements store.Store.
func (s *Store) UpdateNotification(ctx context.Context, n records.Notification) error {
	there, err := s.replaceOne(ctx, s.notifications, n.Key, newNotificationDoc(&n))
	if err == nil && !there {
		return fmt.Errorf("%s: there is no notification %q to update: insert it first", s.where(), n.Key)
	}
	return err
}

// Notification implements store.Store.
func (s *Store) Notification(ctx context.Context, key string) (n records.Notification, ok bool, err error) {
	return get[notificationDoc, records.Notification](ctx, s, s.notifications, key)
}

// DueNotifications implements store.Store.
func (s *Store) DueNotifications(ctx context.Context, now time.Time, limit int) ([]records.Notification, error) {
	by := bson.E{Key: "next_at", Value: bson.D{{Key: "$lte", Value: now}}}
	pending, waiting := bson.E{Key: "state", Value: string(records.MailPending)}, bson.E{Key: "state", Value: string(records.MailWaiting)}
	filter := bson.D{{Key: "$or", Value: bson.A{
		bson.D{pending, {Key: "next_at", Value: nil}}, bson.D{pending, by}, bson.D{waiting, by},
	}}}
	return find[notificationDoc](ctx, s, s.notifications, filter, limited(limit, ascending("reached_at", "_id")))
}

// NotificationsOf implements store.Store.
func (s *Store) NotificationsOf(ctx context.Context, customer string) ([]records.Notification, error) {
	return find[notificationDoc](ctx, s, s.notifications, of(customer), limited(0, ascending("reached_at", "_id")))
}

// NotificationsBetween implements store.Store.
func (s *Store) NotificationsBetween(ctx context.Context, from, to time.Time) ([]records.Notification, error) {
	return find[notificationDoc](ctx, s, s.notifications, between("reached_at", from, to),
		limited(0, ascending("reached_at", "_id")).SetProjection(bson.D{{Key: "body", Value: 0}}))
}

// WriteConversion implements store.Store.
func (s *Store) WriteConversion(ctx context.Context, c records.Conversion) error {
	d := newConversionDoc(&c)
	there, err := s.replaceOne(ctx, s.conversions, d.ID, d)
	if err != nil || there {
		return err
	}
	inserted, err := s.insertOne(ctx, s.conversions, d.ID, d)
	if err != nil || inserted {
		return err
	}
	_, err = s.replaceOne(ctx, s.conversions, d.ID, d) // another call inserted it meanwhile
	return err
}

// DeleteConversion implements store.Store.
func (s *Store) DeleteConversion(ctx context.Context, key string) error {
	ctx, cancel, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return err
	}
	_, err = s.conversions.DeleteOne(ctx, byID(key))
	return s.fail("write to "+s.conversions.Name(), err)
}

// Conversions implements store.Store.
func (s *Store) Conversions(ctx context.Context, from, to time.Time) ([]records.Conversion, error) {
	return find[conversionDoc](ctx, s, s.conversions, between("converted_at", from, to), limited(0, ascending("converted_at", "_id")))
}

// ConversionsOf implements store.Store.
func (s *Store) ConversionsOf(ctx context.Context, customer string) ([]records.Conversion, error) {
	return find[conversionDoc](ctx, s, s.conversions, of(customer), limited(0, ascending("converted_at", "_id")))
}

// between returns the filter of dates in [from, to). A zero time is no bound.
func between(field string, from, to time.Time) bson.D {
	var bounds bson.D
	if !from.IsZero() {
		bounds = append(bounds, bson.E{Key: "$gte", Value: from})
	}
	if !to.IsZero() {
		bounds = append(bounds, bson.E{Key: "$lt", Value: to})
	}
	if bounds == nil {
		return bson.D{}
	}
	return bson.D{{Key: field, Value: bounds}}
}

func (s *Store) insertOne(ctx context.Context, c *driver.Collection, id string, doc any) (inserted bool, err error) {
	raw, err := encode(id, doc)
	if err != nil {
		return false, err
	}
	ctx, cancel, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return false, err
	}
	_, err = c.InsertOne(ctx, raw)
	switch {
	case isForGood(err):
		return false, store.Refuse(id, err)
	case driver.IsDuplicateKeyError(err):
		return false, nil
	}
	return err == nil, s.fail("write to "+c.Name(), err)
}

func (s *Store) replaceOne(ctx context.Context, c *driver.Collection, id string, doc any) (there bool, err error) {
	raw, err := encode(id, doc)
	if err != nil {
		return false, err
	}
	ctx, cancel, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return false, err
	}
	done, err := s.beginUpdate(ctx)
	if err != nil {
		return false, s.fail("write to "+c.Name(), err)
	}
	defer done()
	result, err := c.ReplaceOne(ctx, byID(id), raw)
	if isForGood(err) {
		return false, store.Refuse(id, err)
	}
	if err != nil {
		return false, s.fail("write to "+c.Name(), err)
	}
	return result.MatchedCount == 1, nil
}
