package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
	if in.privileged() {
		if err := callerOf(r).need(ScopeAdmin); err != nil {
			return err
		}
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
	if err := s.publishAccount(r.Context(), s.partitionOf(id), a); err != nil {
		return err
	}
	if m := s.billingMap(a); m != nil {
		if err := s.publish(r.Context(), m); err != nil {
			return err
		}
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
	if err := s.publishAccount(r.Context(), s.partitionOf(id), &records.Account{Customer: id, Erase: true}); err != nil {
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
	if err := s.publishAll(r.Context(), changes); err != nil {
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
	admin := callerOf(r).need(ScopeAdmin)
	err := split(body, f, func(element []byte, _ bool) bool {
		if seen++; seen > maxBatchEvents {
			return false
		}
		var in customerBody
		err := decodeStrict(element, &in)
		if err == nil && in.privileged() {
			err = admin
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

// publishAll stores changes of many customers, many in flight at a time.
func (s *Server) publishAll(ctx context.Context, changes []*records.Account) error {
	ctx, cancel := context.WithTimeout(ctx, waitForStream)
	defer cancel()
	var futures []jetstream.PubAckFuture
	send := func(m *nats.Msg) error {
		f, err := s.JS.PublishMsgAsync(m, jetstream.WithStallWait(publishTimeout))
		if err != nil {
			return fmt.Errorf("%w: %v", ErrUnavailable, err)
		}
		futures = append(futures, f)
		return nil
	}
	for _, a := range changes {
		body, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("encoding a change: %w", err)
		}
		if err := send(&nats.Msg{Subject: s.Names.Account(s.partitionOf(a.Customer)), Data: body}); err != nil {
			return err
		}
		if m := s.billingMap(a); m != nil {
			if err := send(m); err != nil {
				return err
			}
		}
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return fmt.Errorf("%w: %v", ErrUnavailable, err)
		case <-ctx.Done():
			return fmt.Errorf("%w: not acknowledged in %s", ErrUnavailable, waitForStream)
		}
	}
	return nil
}
