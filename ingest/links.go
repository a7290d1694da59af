package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/internal/link"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
)

// clickTimeout bounds how long a visitor waits until the click is recorded, and
// upgradeTimeout how long until the payment page is made.
const (
	clickTimeout   = time.Second
	upgradeTimeout = 5 * time.Second
)

const noteStyle = `body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem;color:#222}` +
	`button,a.b{font:inherit;padding:.5rem 1rem;border:1px solid #888;border-radius:.4rem;background:#f4f4f4;color:#222;text-decoration:none}`

var (
	noteStyleHash = func() string {
		sum := sha256.Sum256([]byte(noteStyle))
		return base64.StdEncoding.EncodeToString(sum[:])
	}()
	notePage = template.Must(template.New("note").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex"><title>{{.Title}}</title><style>` + noteStyle + `</style></head>
<body><h1>{{.Title}}</h1><p>{{.Text}}</p>
{{if .Button}}<form method="post"><button>{{.Button}}</button></form>{{end}}
{{if .URL}}<p><a class="b" href="{{.URL}}" rel="noreferrer">{{.Label}}</a></p>{{end}}
</body></html>
`))
)

// note is a small page for people.
type note struct{ Title, Text, Button, URL, Label string }

func writeNote(w http.ResponseWriter, status int, n note) error {
	var b bytes.Buffer
	if err := notePage.Execute(&b, n); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+noteStyleHash+"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
	return nil
}

// parseLink reads the token in the address. A link to unsubscribe never expires.
func (s *Server) parseLink(r *http.Request, kind link.Kind) (link.Link, error) {
	l, err := link.Parse(s.LinkSecrets, r.PathValue("token"), s.Now())
	if kind == link.Unsubscribe && errors.Is(err, link.ErrExpired) {
		err = nil
	}
	if err == nil && l.Kind != kind {
		err = fmt.Errorf("%w: its kind is %s", link.ErrInvalid, l.Kind)
	}
	if err != nil {
		return link.Link{}, err
	}
	return l, validCustomer(l.Customer)
}

// click leads a person from a mail to the page that takes the payment.
func (s *Server) click(w http.ResponseWriter, r *http.Request) error {
	l, err := s.parseLink(r, link.Upgrade)
	if err != nil {
		n := s.badLink(err)
		n.URL, n.Label = s.UpgradeURL(), "See the plans"
		return writeNote(w, http.StatusNotFound, n)
	}
	to := s.linkTarget(&l)
	if human(r) {
		s.recordClick(r.Context(), &l, r.PathValue("token"))
		if url := s.upgradePage(r.Context(), l); url != "" {
			to = url
		}
	}
	if to == "" {
		return writeNote(w, http.StatusOK, note{Title: "Thank you", Text: "Please open the app to choose a plan."})
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// linkTarget returns where a link leads when no page can be made for the visit.
func (s *Server) linkTarget(l *link.Link) string {
	catalog := s.Catalog()
	if url := s.UpgradeURL(); url != "" {
		return url
	}
	if g, ok := catalog.Gate(l.Feature); ok {
		return g.UpgradeURL
	}
	return ""
}

// recordClick stores a click: of one link once an hour, whichever process it comes to.
// One that cannot be stored is only logged: it must not keep a customer from paying.
func (s *Server) recordClick(ctx context.Context, l *link.Link, token string) {
	ctx, cancel := context.WithTimeout(ctx, clickTimeout)
	defer cancel()
	a := &records.Account{Customer: l.Customer, Click: &records.Click{Feature: l.Feature, WindowStart: l.WindowStart}}
	hour := strconv.FormatInt(s.Now().Unix()/3600, 10)
	if err := s.publishAccount(ctx, a, s.once("click", token, hour)); err != nil {
		s.Log.Warn("click was not recorded", slog.Any("error", err))
	}
}

func (s *Server) upgradePage(ctx context.Context, l link.Link) string {
	if s.Upgrade == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, upgradeTimeout)
	defer cancel()
	url, err := s.Upgrade(ctx, l)
	if err != nil {
		s.Log.Warn("payment page was not made, the upgrade page has to do", slog.Any("error", err))
		return ""
	}
	return url
}

// badLink tells a person what is wrong with a link.
func (s *Server) badLink(err error) note {
	s.Log.Debug("link was refused", slog.Any("error", err))
	if errors.Is(err, link.ErrExpired) {
		return note{Title: "This link has expired", Text: "It was sent to you too long ago."}
	}
	return note{Title: "This link is not valid", Text: "It may have been cut off on its way to you. Please open it as it stands in the mail."}
}

func (s *Server) badUnsubscribe(w http.ResponseWriter, err error) error {
	n := s.badLink(err)
	n.Text += " You can also reply to the mail to be taken off the list."
	return writeNote(w, http.StatusNotFound, n)
}

// unsubscribePage only asks, as programs that fetch links must not unsubscribe
// anyone.
func (s *Server) unsubscribePage(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.parseLink(r, link.Unsubscribe); err != nil {
		return s.badUnsubscribe(w, err)
	}
	return writeNote(w, http.StatusOK, note{Title: "Unsubscribe", Text: "You will get no further mail about your usage limits.", Button: "Unsubscribe"})
}

func (s *Server) unsubscribe(w http.ResponseWriter, r *http.Request) error {
	l, err := s.parseLink(r, link.Unsubscribe)
	if err != nil {
		return s.badUnsubscribe(w, err)
	}
	if err := s.suppress(r.Context(), l.Customer, "unsubscribed"); err != nil {
		return err
	}
	return writeNote(w, http.StatusOK, note{Title: "You are unsubscribed", Text: "You will get no further mail about your usage limits."})
}

// suppress stores that a customer wants no mail, unless that holds already. If it is not
// known whether it holds, it is stored once more: what a person asks for must not be lost.
func (s *Server) suppress(ctx context.Context, customer, why string) error {
	id := ""
	if st, err := ask(ctx, s, questions.StandingOf, customer); err == nil {
		if st.Customer.Suppressed == why {
			return nil
		}
		// Two at the same time find the same position, and are one record.
		id = s.once(why, customer, strconv.FormatUint(st.Customer.Position, 10))
	} else {
		s.notAsked(err)
	}
	return s.publishAccount(ctx, &records.Account{Customer: customer, Suppress: &why}, id)
}

// once returns a message id that all processes with the same secret give to the same
// parts.
func (s *Server) once(parts ...string) string { return link.Once(s.LinkSecrets[0], parts...) }
