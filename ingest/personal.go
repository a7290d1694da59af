package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
)

// Personal are the documents about one customer.
type Personal interface {
	// NotificationsOf returns the customer's notifications, with their bodies.
	NotificationsOf(ctx context.Context, customer string) ([]records.Notification, error)
	// ConversionsOf returns the customer's conversions.
	ConversionsOf(ctx context.Context, customer string) ([]records.Conversion, error)
}

// holding is one place that holds something about a customer.
type holding struct {
	Where  string     `json:"where"`          // a collection or a stream
	What   string     `json:"what"`           // in words
	Erased bool       `json:"erased"`         // whether DELETE removes what is personal in it
	Until  *time.Time `json:"until"`          // when the last of it expires by itself; null: kept
	Data   any        `json:"data,omitempty"` // the documents; a stream's messages are not read
}

// getPersonal lists everything that is held about a customer, for someone who asks what
// is known of them.
func (s *Server) getPersonal(w http.ResponseWriter, r *http.Request) error {
	if err := callerOf(r).need(ScopeRead); err != nil { // beside admin
		return err
	}
	id := r.PathValue("id")
	if err := validCustomer(id); err != nil {
		return err
	}
	held, err := s.documentsOf(r.Context(), id)
	if err != nil {
		return err
	}
	streams, err := s.streamsOf(r.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"customer": id, "held": append(held, streams...)})
}

func (s *Server) documentsOf(ctx context.Context, id string) ([]holding, error) {
	u, st, err := s.askBoth(ctx, id)
	if err != nil {
		return nil, err
	}
	sub, subscribed, err := s.Store.Subscription(ctx, id)
	if err != nil {
		return nil, err
	}
	notes, err := s.Store.NotificationsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	conversions, err := s.Store.ConversionsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	held := []holding{}
	add := func(there bool, h holding) {
		if there {
			held = append(held, h)
		}
	}
	add(st.Known, holding{"customers", "mail address, language, id at Stripe, plan, overrides with their reasons, why no mail goes out", true, nil, st.Customer})
	add(subscribed, holding{"subscriptions", "ids of subscriptions and of the customer at Stripe, plans, their history", false, nil, sub})
	add(len(u.Windows) > 0, holding{"usage", "how much was used, and when first and last", false, nil, u.Windows})
	add(len(notes) > 0, holding{"notifications", "mails: address, subject, text (until 30 days after sending), when they were sent, delivered and clicked", true, nil, mailsOf(notes)})
	add(len(conversions) > 0, holding{"conversions", "payments and changes of plan", false, nil, conversions})
	return held, nil
}

// mail is a notification with its text as it went to the provider.
type mail struct {
	records.Notification
	Body json.RawMessage `json:"body,omitempty"`
}

func mailsOf(notes []records.Notification) []mail {
	mails := make([]mail, len(notes))
	for i := range notes {
		if mails[i].Notification = notes[i]; json.Valid(notes[i].Body) {
			mails[i].Body = notes[i].Body
		}
	}
	return mails
}

// streamsOf names the streams that may hold something of the customer, with the moment
// at which the newest message that they can hold of them expires.
func (s *Server) streamsOf(ctx context.Context, id string) ([]holding, error) {
	p := s.partitionOf(id)
	part := strconv.Itoa(p)
	held := []holding{{Where: events.StreamState, Erased: true, What: "what the roles go by: as in customers, subscriptions, usage and notifications. Gone two days after it was erased"}}
	for _, in := range []struct {
		stream   string
		subjects []string
		what     string
		erased   bool
	}{
		{events.StreamUsage, []string{s.Names.Usage(p, ">")}, "usage events, with what the app put into `data`", false},
		{events.StreamAccount, s.Names.AccountOf(part), "changes: mail address, language, plan, overrides with their reasons", false},
		{events.StreamBilling, []string{s.Names.Billing(">")}, "webhooks of Stripe and objects that were fetched from it: name, addresses", false},
		{events.StreamLimits, []string{s.Names.Limits(p)}, "limits that were reached", false},
		{events.StreamDead, []string{s.Names.Dead(p)}, "messages that could not be processed", false},
		{events.StreamAudit, []string{s.Names.Audit("*", events.Token(id))}, "changes that operators made: who, what and when, with values and reasons", true},
	} {
		until, there, err := s.expiry(ctx, in.stream, in.subjects)
		if err != nil {
			return nil, err
		}
		if there {
			held = append(held, holding{Where: in.stream, What: in.what, Erased: in.erased, Until: until})
		}
	}
	return held, nil
}

// expiry returns when the newest of a stream's messages under the subjects expires; nil:
// never. there reports whether there is one.
func (s *Server) expiry(ctx context.Context, base string, subjects []string) (until *time.Time, there bool, err error) {
	st, err := s.JS.Stream(ctx, s.Names.Stream(base))
	if err != nil {
		return nil, false, unavailable("the streams cannot be asked now: try again")
	}
	var newest time.Time
	for _, subject := range subjects {
		m, err := st.GetLastMsgForSubject(ctx, subject)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return nil, false, unavailable("the streams cannot be asked now: try again")
		case m.Time.After(newest):
			newest = m.Time
		}
	}
	if age := st.CachedInfo().Config.MaxAge; age > 0 && !newest.IsZero() {
		until = pointer(newest.Add(age).UTC())
	}
	return until, !newest.IsZero(), nil
}
