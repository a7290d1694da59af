package mongo

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
)

type notificationDoc struct {
	ID          string     `bson:"_id"`
	Key         string     `bson:"key"`
	Customer    string     `bson:"customer"`
	Feature     string     `bson:"feature"`
	Kind        string     `bson:"kind"`
	Percent     int        `bson:"percent"`
	Plan        string     `bson:"plan"`
	Limit       amount     `bson:"limit"`
	WindowStart *time.Time `bson:"window_start"`
	WindowEnd   *time.Time `bson:"window_end"`
	ReachedAt   *time.Time `bson:"reached_at"`
	State       string     `bson:"state"`
	To          string     `bson:"to"`
	Subject     string     `bson:"subject"`
	Body        []byte     `bson:"body,omitempty"`
	Attempts    int        `bson:"attempts"`
	FirstTryAt  *time.Time `bson:"first_try_at"`
	NextAt      *time.Time `bson:"next_at"`
	ProviderID  string     `bson:"provider_id"`
	Error       string     `bson:"error"`
	SentAt      *time.Time `bson:"sent_at"`
	DeliveredAt *time.Time `bson:"delivered_at"`
	ClickedAt   *time.Time `bson:"clicked_at"`
}

func newNotificationDoc(n *records.Notification) notificationDoc {
	return notificationDoc{
		ID: n.Key, Key: n.Key, Customer: n.Customer, Feature: n.Feature, Kind: string(n.Kind), Percent: n.Percent,
		Plan: n.Plan, Limit: amount(n.Limit), WindowStart: records.Moment(n.WindowStart), WindowEnd: records.Moment(n.WindowEnd),
		ReachedAt: records.Moment(n.ReachedAt), State: string(n.State), To: n.To, Subject: n.Subject, Body: n.Body,
		Attempts: n.Attempts, FirstTryAt: n.FirstTryAt, NextAt: n.NextAt, ProviderID: n.ProviderID, Error: n.Error,
		SentAt: n.SentAt, DeliveredAt: n.DeliveredAt, ClickedAt: n.ClickedAt,
	}
}

func (d notificationDoc) record() records.Notification {
	return records.Notification{
		Key: d.ID, Customer: d.Customer, Feature: d.Feature, Kind: records.LimitKind(d.Kind), Percent: d.Percent,
		Plan: d.Plan, Limit: events.Value(d.Limit), WindowStart: orZero(d.WindowStart), WindowEnd: orZero(d.WindowEnd),
		ReachedAt: orZero(d.ReachedAt), State: records.MailState(d.State), To: d.To, Subject: d.Subject, Body: d.Body,
		Attempts: d.Attempts, FirstTryAt: d.FirstTryAt, NextAt: d.NextAt, ProviderID: d.ProviderID, Error: d.Error,
		SentAt: d.SentAt, DeliveredAt: d.DeliveredAt, ClickedAt: d.ClickedAt,
	}
}

type conversionDoc struct {
	ID             string     `bson:"_id"`
	Key            string     `bson:"key"`
	Kind           string     `bson:"kind"`
	Customer       string     `bson:"customer"`
	FromPlan       string     `bson:"from_plan"`
	ToPlan         string     `bson:"to_plan"`
	StripeEvent    string     `bson:"stripe_event"`
	Amount         int64      `bson:"amount"`
	Currency       string     `bson:"currency"`
	Feature        string     `bson:"feature"`
	LimitReachedAt *time.Time `bson:"limit_reached_at"`
	MailedAt       *time.Time `bson:"mailed_at"`
	ClickedAt      *time.Time `bson:"clicked_at"`
	ConvertedAt    *time.Time `bson:"converted_at"`
}

func newConversionDoc(c *records.Conversion) conversionDoc {
	return conversionDoc{
		ID: c.Key, Key: c.Key, Kind: string(c.Kind), Customer: c.Customer, FromPlan: c.FromPlan, ToPlan: c.ToPlan, StripeEvent: c.StripeEvent,
		Amount: c.Amount, Currency: c.Currency, Feature: c.Feature, LimitReachedAt: c.LimitReachedAt,
		MailedAt: c.MailedAt, ClickedAt: c.ClickedAt, ConvertedAt: records.Moment(c.ConvertedAt),
	}
}

func (d conversionDoc) record() records.Conversion {
	return records.Conversion{
		Key: d.ID, Kind: records.MoveKind(d.Kind), Customer: d.Customer, FromPlan: d.FromPlan, ToPlan: d.ToPlan, StripeEvent: d.StripeEvent,
		Amount: d.Amount, Currency: d.Currency, Feature: d.Feature, LimitReachedAt: d.LimitReachedAt,
		MailedAt: d.MailedAt, ClickedAt: d.ClickedAt, ConvertedAt: orZero(d.ConvertedAt),
	}
}
