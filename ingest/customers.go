package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

func (s *Server) putCustomer(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	body, free, err := readBody(w, r, maxWebhookBytes)
	if err != nil {
		return err
	}
	defer free()
	var in customerBody
	if err := decodeStrict(body, &in); err != nil {
		return err
	}
	if in.ID != "" && in.ID != id {
		return badRequest("`id` %.80q differs from the address' %.80q", in.ID, id)
	}
	if err := in.permitted(callerOf(r)); err != nil {
		return err
	}
	catalog := s.Catalog()
	a, err := in.account(id, catalog, s.Now())
	if err != nil {
		return err
	}
	u := s.bounds.key(callerOf(r).Name)
	if err := s.admitCustomers(r.Context(), s.bounds.profiles, u, &u.profiles, id); err != nil {
		return err
	}
	if err := s.apply(r, []*records.Account{a}); err != nil {
		return err
	}
	if !callerOf(r).can(ScopeRead) {
		return writeJSON(w, http.StatusOK, map[string]string{"customer": id})
	}
	v, _, err := s.view(r.Context(), id)
	if err != nil { // the change is stored, only the view is missing
		s.Log.Warn("customer could not be read", slog.Any("error", err))
		return writeJSON(w, http.StatusOK, map[string]string{"customer": id})
	}
	return writeJSON(w, http.StatusOK, v)
}

// billingMap tells the subscription fold which Stripe customer belongs to ours;
// "": none any more.
func (s *Server) billingMap(a *records.Account) *nats.Msg {
	if a.StripeCustomer == nil {
		return nil
	}
	body, err := json.Marshal(fold.Mapping{Customer: a.Customer, StripeCustomer: *a.StripeCustomer})
	if err != nil {
		return nil // two strings always encode
	}
	return &nats.Msg{Subject: s.Names.Billing(string(fold.KindMap)), Data: body}
}

func (s *Server) deleteCustomer(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if err := validCustomer(id); err != nil {
		return err
	}
	if err := s.apply(r, []*records.Account{{Customer: id, Erase: true, StripeCustomer: new("")}}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) postCustomers(w http.ResponseWriter, r *http.Request) error {
	u := s.bounds.key(callerOf(r).Name)
	sent, err := s.boundEvents(u)
	if err != nil {
		return err
	}
	form, err := formOf(r.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	body, free, err := readBody(w, r, maxBodyBytes)
	if err != nil {
		return err
	}
	defer free()
	changes, rejected, err := s.readCustomers(r, body, form)
	if err != nil {
		return err
	}
	sent(len(changes) + len(rejected))
	if len(changes) == 0 {
		return noneGood(rejected, "customer")
	}
	if !callerOf(r).can(ScopeAdmin) { // an operator may import any number
		if err := s.admitCustomers(r.Context(), s.bounds.profiles, u, &u.profiles, idsOf(changes)...); err != nil {
			return err
		}
	}
	if err := s.apply(r, changes); err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, receipt{Accepted: len(changes), Rejected: rejected})
}

func idsOf(changes []*records.Account) []string {
	ids := make([]string, len(changes))
	for i, a := range changes {
		ids[i] = a.Customer
	}
	return ids
}

func (s *Server) readCustomers(r *http.Request, body []byte, f form) ([]*records.Account, []rejection, error) {
	var changes []*records.Account
	rejected, seen, now, catalog := []rejection{}, 0, s.Now(), s.Catalog()
	caller := callerOf(r)
	err := split(body, f, func(element []byte, _ bool) bool {
		if seen++; seen > maxBatchEvents {
			return false
		}
		var in customerBody
		err := decodeStrict(element, &in)
		if err == nil {
			err = in.permitted(caller)
		}
		var a *records.Account
		if err == nil {
			a, err = in.account(in.ID, catalog, now)
		}
		if err != nil {
			rejected = append(rejected, rejection{Index: seen - 1, ID: in.ID, Error: err.Error()})
			return true
		}
		changes = append(changes, a)
		return true
	})
	switch {
	case err != nil:
		return nil, nil, err
	case seen > maxBatchEvents:
		return nil, nil, &problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("more than %d customers: send them in parts", maxBatchEvents)}
	case seen == 0:
		return nil, nil, badRequest("the batch is empty")
	}
	return changes, rejected, nil
}

// apply makes changes of customers, with their entries in the audit log.
func (s *Server) apply(r *http.Request, accounts []*records.Account) error {
	changes, entries := s.entriesOf(r, accounts)
	return s.audited(r.Context(), entries, func(ctx context.Context) error {
		for _, a := range accounts {
			if !a.Erase {
				continue
			}
			if err := s.audit.Erase(ctx, a.Customer); err != nil {
				return fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
		return s.publishAll(ctx, changes)
	})
}

// publishAll stores changes, many in flight at a time. Its error is a *partly.
func (s *Server) publishAll(ctx context.Context, changes []change) error {
	ctx, cancel := context.WithTimeout(ctx, waitForStream)
	defer cancel()
	type sent struct {
		jetstream.PubAckFuture
		id string
	}
	var all []sent
	failed := partly{results: map[string]audit.Result{}}
	stored := map[string]bool{}
	for i := range changes {
		msgs, err := s.messages(&changes[i])
		for _, m := range msgs {
			var f jetstream.PubAckFuture
			if f, err = s.JS.PublishMsgAsync(m, jetstream.WithStallWait(publishTimeout)); err != nil {
				break
			}
			all = append(all, sent{f, changes[i].id()})
		}
		if err != nil {
			failed.add(changes[i].id(), err, audit.Failed)
		}
	}
	for _, f := range all {
		select {
		case <-f.Ok():
			stored[f.id] = true
		case err := <-f.Err():
			failed.add(f.id, err, audit.ResultOf(err))
		case <-ctx.Done():
			failed.add(f.id, fmt.Errorf("not acknowledged in %s", waitForStream), audit.Unknown)
		}
	}
	if failed.error == nil {
		return nil
	}
	for id := range failed.results {
		if stored[id] { // one of its two messages
			failed.results[id] = audit.Unknown
		}
	}
	return &failed
}

// messages returns what a change publishes.
func (s *Server) messages(c *change) ([]*nats.Msg, error) {
	body, err := json.Marshal(c.account)
	if err != nil {
		return nil, fmt.Errorf("encoding a change: %w", err)
	}
	msgs := []*nats.Msg{{Subject: s.Names.Account(s.partitionOf(c.account.Customer)), Data: body}}
	if m := s.billingMap(c.account); m != nil {
		msgs = append(msgs, m)
	}
	if id := c.id(); id != "" {
		for _, m := range msgs {
			m.Header = nats.Header{audit.Header: {id}}
		}
	}
	return msgs, nil
}
