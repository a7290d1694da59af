package fold

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v76/webhook"
)

// Tolerance is how far the time of a webhook's signature may be from now, in
// either direction.
const Tolerance = 5 * time.Minute

// Errors of Verify, wrapped with detail.
var (
	// ErrSignature is returned when none of the secrets made the signature, or when
	// its time is too far from now.
	ErrSignature = errors.New("stripe signature refused")
	// ErrPayload is returned for a body that is not a JSON object.
	ErrPayload = errors.New("stripe payload refused")
)

// Mode is one of the two separate parts of a Stripe account.
type Mode string

// The modes; "" is either.
const (
	ModeTest Mode = "test"
	ModeLive Mode = "live"
)

// ErrMode is returned for an event of another mode than Tidegate's.
var ErrMode = errors.New("stripe event of another mode")

// ModeOfKey returns the mode of an API key, or "" when the key does not show it.
func ModeOfKey(key string) Mode {
	for _, m := range []Mode{ModeTest, ModeLive} {
		for _, kind := range []string{"sk_", "rk_"} {
			if strings.HasPrefix(key, kind+string(m)+"_") {
				return m
			}
		}
	}
	return ""
}

// CheckMode returns ErrMode when the event names another mode than ours.
func (e *Envelope) CheckMode(ours Mode) error {
	if ours == "" || e.Livemode == nil {
		return nil
	}
	theirs := ModeTest
	if *e.Livemode {
		theirs = ModeLive
	}
	if theirs != ours {
		return fmt.Errorf("%w: it is of %s mode, Tidegate works in %s mode (as STRIPE_SECRET_KEY or STRIPE_MODE says): "+
			"take this endpoint out of Stripe's %s mode, or give that mode a Tidegate of its own", ErrMode, theirs, ours, theirs)
	}
	return nil
}

// Verify checks the Stripe-Signature header of a webhook against each of the
// secrets (several while one is being replaced) and parses the payload. It
// accepts events of any API version, thin events and unknown types. It returns
// ErrSignature or ErrPayload.
func Verify(payload []byte, header string, secrets []string, now time.Time) (Envelope, error) {
	if err := verifySignature(payload, header, secrets, now); err != nil {
		return Envelope{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return ParseEnvelope(payload)
}

func verifySignature(payload []byte, header string, secrets []string, now time.Time) error {
	err := errors.New("no webhook secret is configured")
	for _, secret := range secrets {
		if secret == "" { // anyone can sign with it
			continue
		}
		// The library's own check uses its own clock and accepts any future time.
		if err = webhook.ValidatePayloadIgnoringTolerance(payload, header, secret); err == nil {
			return verifyTime(header, now)
		}
	}
	return err
}

func verifyTime(header string, now time.Time) error {
	var at time.Time
	for part := range strings.SplitSeq(header, ",") {
		// The last t counts, as it does for the library that signed it.
		if v, ok := strings.CutPrefix(part, "t="); ok {
			sec, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return webhook.ErrInvalidHeader
			}
			at = time.Unix(sec, 0)
		}
	}
	if d := now.Sub(at); d > Tolerance || d < -Tolerance {
		return fmt.Errorf("its time %s is more than %s from now: check this machine's clock",
			at.UTC().Format(time.RFC3339), Tolerance)
	}
	return nil
}

// Sign returns a Stripe-Signature header that Verify accepts.
func Sign(payload []byte, secret string, now time.Time) string {
	return webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{
		Payload: payload, Secret: secret, Timestamp: now,
	}).Header
}
