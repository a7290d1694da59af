package notifier

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/resend/resend-go/v2"

	"github.com/tidegate-io/tidegate/internal/records"
)

// keyTag is the tag that carries a notification's key, with "_" for "/", to the
// provider and back.
const keyTag = "tidegate_key"

// maxWebhook bounds a webhook's body: a report without the mail itself.
const maxWebhook = 256 << 10

// ResendWebhook turns Resend's reports of mails, which come to /webhooks/resend, into
// records of ACCOUNT. It may run in another process than the notifier. It ignores
// mails of other senders.
type ResendWebhook struct {
	// Secrets are the signing secrets (whsec_…). There is more than one while they are
	// rotated.
	Secrets []string
	// Find returns a notification by its key.
	Find func(ctx context.Context, key string) (records.Notification, bool, error)
	// Publish stores a record in ACCOUNT. It may not drop one by an id: apps publish to
	// that stream, too, with ids as they like.
	Publish func(ctx context.Context, a *records.Account) error
	Log     *slog.Logger
}

// CheckWebhookSecret returns an error when a secret is not one of Resend's.
func CheckWebhookSecret(secret string) error {
	if _, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_")); err != nil || secret == "" {
		return errors.New("it is not a signing secret as Resend shows it for a webhook: whsec_ and base64")
	}
	return nil
}

// Receive handles one report and returns the status to answer with. The error of a
// refusal is safe to send to Resend. The status is 2xx only when the report is stored
// or needs no storing; Resend repeats all others.
func (h *ResendWebhook) Receive(w http.ResponseWriter, r *http.Request) (status int, err error) {
	id := r.Header.Get("svix-id")
	if id == "" || r.Header.Get("svix-timestamp") == "" || r.Header.Get("svix-signature") == "" { // before anything is read
		return http.StatusBadRequest, errors.New("the signature is missing")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhook))
	if err != nil {
		return http.StatusBadRequest, errors.New("the body cannot be read")
	}
	if err := h.verify(r.Header, body); err != nil {
		h.Log.Warn("webhook_refused", "provider", "resend", "error", err)
		return http.StatusBadRequest, errors.New("the signature is not valid, or older than 5 minutes")
	}
	var e resendEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return http.StatusBadRequest, errors.New("the body is no event")
	}
	if err := h.take(r.Context(), &e); err != nil {
		h.Log.Warn("webhook_not_stored", "provider", "resend", "id", id, "error", err)
		return http.StatusServiceUnavailable, errors.New("not stored, send it again")
	}
	return http.StatusNoContent, nil
}

func (h *ResendWebhook) verify(header http.Header, body []byte) error {
	err := errors.New("no secret is configured")
	for _, secret := range h.Secrets {
		err = (&resend.WebhooksSvcImpl{}).Verify(&resend.VerifyWebhookOptions{
			Payload: string(body), WebhookSecret: secret,
			Headers: resend.WebhookHeaders{Id: header.Get("svix-id"), Timestamp: header.Get("svix-timestamp"), Signature: header.Get("svix-signature")},
		})
		if err == nil {
			return nil
		}
	}
	return err
}

func (h *ResendWebhook) take(ctx context.Context, e *resendEvent) error {
	report, suppress := e.report()
	if report == nil {
		return nil
	}
	n, ok, err := h.Find(ctx, report.Key)
	if err != nil || !ok {
		return err
	}
	if again := n; !mergeReport(&again, report) {
		return nil // the report is stored, and this is a repetition
	}
	a := &records.Account{Customer: n.Customer, Mail: report}
	if suppress != "" {
		a.Suppress = &suppress
	}
	return h.Publish(ctx, a)
}

// resendEvent is the part of a webhook that is read
// (https://resend.com/docs/dashboard/webhooks/event-types).
type resendEvent struct {
	Type      string    `json:"type"`
	CreatedAt time.Time `json:"created_at"`
	Data      struct {
		Tags   tags `json:"tags"`
		Bounce struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"bounce"`
		Failed struct {
			Reason string `json:"reason"`
		} `json:"failed"`
		Suppressed struct {
			Message string `json:"message"`
		} `json:"suppressed"`
	} `json:"data"`
}

// report returns the report in an event, and why the customer may get no more mail,
// or "". It returns nil for events that do not matter.
func (e *resendEvent) report() (r *records.MailReport, suppress string) {
	key := strings.Replace(e.Data.Tags[keyTag], "_", "/", 1)
	if key == "" {
		return nil, ""
	}
	if e.CreatedAt.IsZero() {
		e.CreatedAt = time.Now()
	}
	r = &records.MailReport{Key: key, At: e.CreatedAt.UTC()}
	switch e.Type {
	case "email.sent":
		r.Event = records.MailEventSent
	case "email.failed":
		r.Event, r.Detail = records.MailEventFailed, e.Data.Failed.Reason
	case "email.suppressed":
		r.Event, r.Detail, suppress = records.MailEventSuppressed, e.Data.Suppressed.Message, "on the provider's suppression list"
	case "email.delivered":
		r.Event = records.MailEventDelivered
	case "email.complained":
		r.Event, suppress = records.MailEventComplained, "complained"
	case "email.bounced":
		r.Event, r.Detail = records.MailEventBounced, e.Data.Bounce.Message
		if !strings.EqualFold(e.Data.Bounce.Type, "Transient") {
			suppress = "bounced"
		}
	default:
		return nil, ""
	}
	r.Detail = clip(r.Detail)
	return r, suppress
}

// maxDetail bounds the stored part of the provider's explanation, in bytes.
const maxDetail = 1000

func clip(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail]
	}
	return strings.ToValidUTF8(s, "")
}

// tags holds tags by name. Resend sends them as an object or as a list.
type tags map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (t *tags) UnmarshalJSON(b []byte) error {
	*t = tags{}
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("[")) {
		return json.Unmarshal(b, (*map[string]string)(t))
	}
	var list []Tag
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	for _, x := range list {
		(*t)[x.Name] = x.Value
	}
	return nil
}
