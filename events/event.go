package events

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a usage event.
const (
	MaxEventBytes    = 64 << 10        // of one event's JSON
	MaxCustomerBytes = 256             // of a customer id, UTF-8
	MaxIDBytes       = 512             // of id, source and type each
	MaxAhead         = 5 * time.Minute // how far an event's time may be after the moment it is stored
	MaxBatchBytes    = 512 << 10       // of a packed message
	MaxBatchEvents   = 10_000          // in a packed message
)

// ControlPrefix is the prefix of the types of control events. Only Tidegate publishes
// them; they change how usage is counted (plan, anchor, override, configuration).
const ControlPrefix = "tidegate."

// Event is one use of a metered feature, as a CloudEvent 1.0. Its identity is (Subject,
// Source, ID).
type Event struct {
	ID      string    // required in a batch; the gateway assigns one to a single event without it
	Source  string    // the sender; optional
	Type    string    // what was used: the name that a gate meters
	Subject string    // the customer's raw id
	Time    time.Time // of the use; zero: the moment it is stored
	Data    []byte    // a JSON object, or nil
}

// Errors about an event. They are wrapped with detail.
var (
	// ErrInvalid is returned for an event that can never be accepted.
	ErrInvalid = errors.New("invalid event")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Validate returns nil when an app may publish e, and else an ErrInvalid that names the
// field. It does not check Time, which is compared with the moment of storing (see
// CheckTime), and does not require an ID.
func (e *Event) Validate() error {
	if e.ordinary() {
		return nil
	}
	return e.problem()
}

// problem returns why e is not valid, or nil.
func (e *Event) problem() error {
	if e.Type == "" {
		return invalid("`type` is missing: name what was used, such as \"api\"")
	}
	if strings.HasPrefix(e.Type, ControlPrefix) {
		return invalid("`type` %q: names with %q are Tidegate's own", clip(e.Type), ControlPrefix)
	}
	for _, f := range [...]struct{ name, value string }{{"type", e.Type}, {"source", e.Source}, {"id", e.ID}} {
		if len(f.value) > MaxIDBytes {
			return invalid("`%s` has %d bytes, at most %d are allowed", f.name, len(f.value), MaxIDBytes)
		}
		if !utf8.ValidString(f.value) {
			return invalid("`%s` is not valid UTF-8", f.name)
		}
		if err := checkDirection(f.name, f.value); err != nil {
			return err
		}
	}
	return ValidateCustomer(e.Subject)
}

// ValidateCustomer returns nil when id can be a customer's id: 1 to 256 bytes of UTF-8
// without control characters, not those of text direction either, and neither "." nor
// "..", which addresses cannot carry. Else it returns an ErrInvalid.
func ValidateCustomer(id string) error {
	switch {
	case id == "." || id == "..":
		return invalid("`subject` is %q, which in an address means another place: choose another id", id)
	case id == "":
		return invalid("`subject` is missing: it names the customer")
	case len(id) > MaxCustomerBytes:
		return invalid("`subject` has %d bytes, a customer id has at most %d", len(id), MaxCustomerBytes)
	case plainText(id):
		return nil
	case !utf8.ValidString(id):
		return invalid("`subject` is not valid UTF-8")
	}
	for _, r := range id {
		if r < 0x20 || (r >= 0x7f && r < 0xa0) {
			return invalid("`subject` contains the control character %U", r)
		}
	}
	return checkDirection("subject", id)
}

// checkDirection refuses characters that change the direction of text: with them, an id
// looks like another one in lists and logs.
func checkDirection(name, value string) error {
	for _, r := range value {
		if unicode.Is(unicode.Bidi_Control, r) {
			return invalid("`%s` contains %U, which changes the direction of text", name, r)
		}
	}
	return nil
}

// ordinary reports whether e is valid, by a fast check. It returns true for nearly all
// valid events, and false for all others.
func (e *Event) ordinary() bool {
	return e.Type != "" && !strings.HasPrefix(e.Type, ControlPrefix) && e.Subject != "" &&
		e.Subject != "." && e.Subject != ".." && len(e.Type) <= MaxIDBytes && len(e.Source) <= MaxIDBytes && len(e.ID) <= MaxIDBytes && len(e.Subject) <= MaxCustomerBytes &&
		plainText(e.Subject) && plainText(e.ID) && plainText(e.Type) && plainText(e.Source)
}

// plainText reports whether s is ASCII without control characters.
func plainText(s string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		v := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56 // one load
		// A byte above 0x7f, below 0x20 (a borrow) or of 0x7f (a carry).
		if (v|(v-ones*0x20)|(v+ones))&high != 0 {
			return false
		}
		s = s[8:]
	}
	for i := 0; i < len(s); i++ {
		if s[i]-0x20 >= 0x7f-0x20 {
			return false
		}
	}
	return true
}

// CheckTime returns nil when an event with time t that was stored at the given moment
// may be counted: t is at most MaxAhead after that moment and not older than horizon
// (zero: any age, for imports). Else it returns an ErrInvalid.
func CheckTime(t, stored time.Time, horizon time.Duration) error {
	if ahead := t.Sub(stored); ahead > MaxAhead {
		return invalid("`time` %s lies %s in the future (at most %s): check the clock of its sender",
			t.UTC().Format(time.RFC3339), ahead.Round(time.Second), MaxAhead)
	}
	if t.Unix() < 0 {
		return invalid("`time` %s lies before 1970", t.UTC().Format(time.RFC3339))
	}
	if age := stored.Sub(t); horizon > 0 && age > horizon {
		return invalid("`time` %s is older than the horizon of %s: use `tidegate import` for history",
			t.UTC().Format(time.RFC3339), shortDuration(horizon))
	}
	return nil
}

// present returns an ErrInvalid for a time that is there but reads like none.
func present(t time.Time) error {
	if t.IsZero() {
		return CheckTime(t, t, 0)
	}
	return nil
}

func shortDuration(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
