package ingest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/audit"
)

// userHeader names the person who runs a command, as the command says.
const userHeader = "X-Tidegate-User"

// actor returns who made the request.
func (s *Server) actor(r *http.Request) string {
	return audit.Actor(callerOf(r).Name, r.Header.Get(userHeader))
}

// errNotAudited is the answer to a change that the audit log did not take.
var errNotAudited = unavailable("nothing was changed, because the audit log cannot take the entry now: try again, and see what `tidegate doctor` says")

// audited writes the entries of a change and then has do make it. When the log refuses
// them, do is not called. When do fails, the log says so. Once the entries are written,
// a caller who goes away does not end the change.
func (s *Server) audited(ctx context.Context, entries []audit.Entry, do func(context.Context) error) error {
	if len(entries) == 0 {
		return do(ctx)
	}
	if err := s.audit.Write(ctx, entries); err != nil {
		return fmt.Errorf("%w: %w", errNotAudited, err)
	}
	err := do(context.WithoutCancel(ctx))
	if err != nil {
		s.audit.Mark(ctx, outcomes(entries, err))
	}
	return err
}

// partly is an error of several changes, some of which were stored.
type partly struct {
	error
	results map[string]audit.Result // by ID of the entries, of those that failed
}

func (p *partly) Unwrap() error { return p.error }

// outcomes returns what an error means for the changes, once for each ID and customer.
func outcomes(entries []audit.Entry, err error) (list []audit.Outcome) {
	var some *partly
	told := map[[2]string]bool{}
	for _, e := range entries {
		result := audit.ResultOf(err)
		if errors.As(err, &some) {
			result = some.results[e.ID]
		}
		if key := [2]string{e.ID, e.Customer}; result != "" && !told[key] {
			told[key] = true
			list = append(list, audit.Outcome{Entry: e, Result: result})
		}
	}
	return list
}

func auditQuery(q url.Values) (asked audit.Query, err error) {
	asked = audit.Query{Customer: q.Get("customer"), Actor: q.Get("actor"), Limit: defaultPage}
	if asked.Customer != "" {
		if err := validCustomer(asked.Customer); err != nil {
			return asked, err
		}
	}
	if asked.From, err = dayOr("from", q.Get("from"), time.Time{}); err != nil {
		return asked, err
	}
	if asked.To, err = dayOr("to", q.Get("to"), time.Time{}); err != nil {
		return asked, err
	}
	if !asked.To.IsZero() && !asked.From.Before(asked.To) {
		return asked, badRequest("`from` must lie before `to`")
	}
	if v := q.Get("limit"); v != "" {
		if asked.Limit, err = strconv.Atoi(v); err != nil || asked.Limit < 1 || asked.Limit > largestPage {
			return asked, badRequest("`limit` %.20q is not a number from 1 to %d", v, largestPage)
		}
	}
	if v := q.Get("cursor"); v != "" {
		asked.Before, err = parseAuditCursor(v)
	}
	return asked, err
}

func (s *Server) getAudit(w http.ResponseWriter, r *http.Request) error {
	asked, err := auditQuery(r.URL.Query())
	if err != nil {
		return err
	}
	page, err := s.audit.Read(r.Context(), asked)
	if errors.Is(err, audit.ErrNotRead) {
		return fmt.Errorf("%w: %w", unavailable("the audit log cannot be read now: try again"), err)
	}
	if err != nil {
		return err
	}
	answer := map[string]any{"entries": page.Entries}
	if page.Next > 0 {
		answer["next"] = auditCursor(page.Next)
	}
	return writeJSON(w, http.StatusOK, answer)
}

func auditCursor(position uint64) string {
	return base64.RawURLEncoding.EncodeToString([]byte("a" + strconv.FormatUint(position, 10)))
}

func parseAuditCursor(text string) (uint64, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	digits, ours := strings.CutPrefix(string(b), "a")
	position, wrong := strconv.ParseUint(digits, 10, 64)
	if err != nil || !ours || wrong != nil || position == 0 {
		return 0, badRequest("`cursor` is not one that a list gave out")
	}
	return position, nil
}
