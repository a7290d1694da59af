package billing

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v76/webhook"
)

// Tolerance is how far a webhook's signature may lie from now, before or
// after it.
const Tolerance = 5 * time.Minute

// Errors of Verify, wrapped with detail.
var (
	// ErrSignature is returned when no secret made the signature, or when its
	// time is too far from now: the sender is not (or no longer) Stripe.
	ErrSignature = errors.New("stripe signature refused")
	// ErrPayload is returned for a body that is not a JSON object.
	ErrPayload = errors.New("stripe payload refused")
)

// Verify checks the Stripe-Signature header of a webhook against each of the
// secrets (several while one is being replaced) and parses the payload. Events
// of any API version, thin events and unknown types are accepted.
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
		// The library would take its own clock and accept any future time.
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

// Sign makes the Stripe-Signature header that Verify accepts.
func Sign(payload []byte, secret string, now time.Time) string {
	return webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{
		Payload: payload, Secret: secret, Timestamp: now,
	}).Header
}
