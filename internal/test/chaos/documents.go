package chaos

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/store/kv"
)

// observeDocuments reads the documents, from the store without Tidegate where it can.
func (in *installation) observeDocuments(ctx context.Context, o *Observed, customers []Customer) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if in.Database == nil {
		return in.embedded(ctx, o, customers)
	}
	c, err := mongo.Connect(ctx, options.Client().ApplyURI(in.Database.URI()).SetServerSelectionTimeout(5*time.Second))
	if err != nil {
		return err
	}
	defer func() { _ = c.Disconnect(context.WithoutCancel(ctx)) }()
	db := c.Database("chaos")
	for _, read := range []func(context.Context, *mongo.Database, *Observed) error{usageDocuments, notificationDocuments, conversionDocuments} {
		if err := read(ctx, db, o); err != nil {
			return err
		}
	}
	return nil
}

func (in *installation) embedded(ctx context.Context, o *Observed, customers []Customer) error {
	s, err := kv.Open(ctx, in.js, in.names, in.Brokers)
	if err != nil {
		return err
	}
	if err := s.AllUsage(ctx, func(w records.Window) error { o.Documents = append(o.Documents, w); return nil }); err != nil {
		return err
	}
	if o.Reached, err = s.NotificationsBetween(ctx, time.Time{}, time.Time{}); err != nil {
		return err
	}
	o.Converted, err = s.Conversions(ctx, time.Time{}, time.Time{})
	return err
}

func usageDocuments(ctx context.Context, db *mongo.Database, o *Observed) error {
	var docs []struct {
		Customer string    `bson:"customer"`
		Feature  string    `bson:"feature"`
		Start    time.Time `bson:"window_start"`
		Used     any       `bson:"used"`
	}
	if err := all(ctx, db, "usage", &docs); err != nil {
		return err
	}
	for _, d := range docs {
		used, err := events.ParseValue(fmt.Sprint(d.Used))
		if err != nil {
			return fmt.Errorf("document of %s: used %v: %w", d.Customer, d.Used, err)
		}
		o.Documents = append(o.Documents, records.Window{Customer: d.Customer, Feature: d.Feature, Start: d.Start, Used: used})
	}
	return nil
}

func notificationDocuments(ctx context.Context, db *mongo.Database, o *Observed) error {
	var docs []struct {
		Customer  string    `bson:"customer"`
		Kind      string    `bson:"kind"`
		ReachedAt time.Time `bson:"reached_at"`
	}
	err := all(ctx, db, "notifications", &docs)
	for _, d := range docs {
		o.Reached = append(o.Reached, records.Notification{Customer: d.Customer, Kind: records.LimitKind(d.Kind), ReachedAt: d.ReachedAt.UTC()})
	}
	return err
}

func conversionDocuments(ctx context.Context, db *mongo.Database, o *Observed) error {
	var docs []struct {
		Key            string     `bson:"_id"`
		Kind           string     `bson:"kind"`
		Customer       string     `bson:"customer"`
		FromPlan       string     `bson:"from_plan"`
		ToPlan         string     `bson:"to_plan"`
		StripeEvent    string     `bson:"stripe_event"`
		Amount         int64      `bson:"amount"`
		Currency       string     `bson:"currency"`
		Feature        string     `bson:"feature"`
		LimitReachedAt *time.Time `bson:"limit_reached_at"`
		ConvertedAt    time.Time  `bson:"converted_at"`
	}
	err := all(ctx, db, "conversions", &docs)
	for _, d := range docs {
		o.Converted = append(o.Converted, records.Conversion{Key: d.Key, Kind: records.MoveKind(d.Kind), Customer: d.Customer, FromPlan: d.FromPlan, ToPlan: d.ToPlan,
			StripeEvent: d.StripeEvent, Amount: d.Amount, Currency: d.Currency, Feature: d.Feature, LimitReachedAt: d.LimitReachedAt, ConvertedAt: d.ConvertedAt.UTC()})
	}
	return err
}

func all(ctx context.Context, db *mongo.Database, collection string, into any) error {
	cursor, err := db.Collection(collection).Find(ctx, bson.M{})
	if err != nil {
		return err
	}
	return cursor.All(ctx, into)
}
