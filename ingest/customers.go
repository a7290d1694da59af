package ingest

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
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
	c := &change{account: a, move: in.Move, reason: in.Reason, sees: callerOf(r).can(ScopeRead)}
	if err := s.apply(r, []*change{c}); err != nil {
		return err
	}
	if c.refused != nil {
		return c.refused
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

func (s *Server) deleteCustomer(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if err := validCustomer(id); err != nil {
		return err
	}
	reason := r.URL.Query().Get("reason")
	if err := gate.ValidReason(reason); err != nil {
		return badRequest("`reason`: %v", err)
	}
	erase := &change{account: &records.Account{Customer: id, Erase: true, StripeCustomer: new("")}, reason: reason}
	if err := s.apply(r, []*change{erase}); err != nil {
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
	before := len(rejected)
	if err := s.apply(r, changes); err != nil {
		return err
	}
	for _, c := range changes {
		if c.refused != nil {
			rejected = append(rejected, rejection{Index: c.index, ID: c.account.Customer, Error: c.refused.Error()})
		}
	}
	slices.SortFunc(rejected, func(a, b rejection) int { return a.Index - b.Index })
	if len(rejected) == len(changes)+before {
		return noneGood(rejected, "customer")
	}
	return writeJSON(w, http.StatusAccepted, receipt{Accepted: len(changes) + before - len(rejected), Rejected: rejected})
}

func idsOf(changes []*change) []string {
	ids := make([]string, len(changes))
	for i, c := range changes {
		ids[i] = c.account.Customer
	}
	return ids
}

func (s *Server) readCustomers(r *http.Request, body []byte, f form) ([]*change, []rejection, error) {
	var changes []*change
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
		changes = append(changes, &change{account: a, move: in.Move, reason: in.Reason, sees: caller.can(ScopeRead), index: seen - 1})
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
