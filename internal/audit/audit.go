// Package audit keeps who changed what, in the stream AUDIT.
//
// An entry is written before its change, so a change without an entry cannot be. The
// message that makes the change carries the entry's id in the header Header. When the
// change then fails, a result says so. When a process dies between the two, the entry
// has no result, and no message has its id.
//
// An entry is one message, audit.entry.<customer token>, or audit.entry.~ and a word
// where it is about no customer. What an entry about a customer says in free text or
// ids lies in a message of its own before it, audit.detail.<customer token>, which the
// entry names by its sequence. So to erase a customer is to purge one subject, and the
// entries keep who, what and when.
package audit

import (
	"encoding/json"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/tidegate-io/tidegate/events"
)

// Header is the header of a message in another stream that makes an audited change.
// Its value is the ID of the entries about it.
const Header = "Tidegate-Audit"

// Action is what was done.
type Action string

// The actions.
const (
	CustomerPlan     Action = "customer.plan"
	CustomerAnchor   Action = "customer.anchor"
	CustomerOverride Action = "customer.override"
	CustomerStripe   Action = "customer.stripe"
	CustomerErase    Action = "customer.erase"
	GateOff          Action = "gate.off"
	GateOn           Action = "gate.on"
	Configuration    Action = "config" // a configuration was taken over
)

// Result says that the change of an entry did not happen, or perhaps not.
type Result string

// The results. A change that happened has none.
const (
	Failed  Result = "failed"  // it was not stored
	Unknown Result = "unknown" // the acknowledgement did not come: it may have been stored
)

// Entry is one change. Before and After are JSON; nil says that the value is not known,
// and null that there was none.
type Entry struct {
	ID       string          `json:"id"`          // of the change; its entries share it
	At       time.Time       `json:"at,omitzero"` // when it was stored; zero before
	Actor    string          `json:"actor"`
	Action   Action          `json:"action"`
	Customer string          `json:"customer,omitempty"` // raw id
	Feature  string          `json:"feature,omitempty"`
	Before   json.RawMessage `json:"before,omitempty"`
	After    json.RawMessage `json:"after,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Result   Result          `json:"result,omitempty"`
	Erased   bool            `json:"erased,omitempty"` // before, after and reason are gone with the customer's data
}

// erasable reports whether before, after and reason go with the customer's data. The
// reason of an erasure says why they went.
func (e *Entry) erasable() bool { return e.Customer != "" && e.Action != CustomerErase }

// NewID returns the ID of a new change.
func NewID() string { return nuid.Next() }

// Value returns a value for Before or After.
func Value(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // plain values always encode
	}
	return b
}

// ConfigurationActor is the name of who takes configurations over.
const ConfigurationActor = "config"

// maxUser is how many characters of a user's name an actor shows.
const maxUser = 64

// Actor returns who did something: the name of the key, and in brackets the user that a
// command names. The user is what the caller says: it is shortened and made printable,
// and cannot be mistaken for a key's name.
func Actor(key, user string) string {
	user = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r == '(' || r == ')' || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, user)
	if runes := []rune(user); len(runes) > maxUser {
		user = string(runes[:maxUser])
	}
	if user = strings.TrimSpace(user); user == "" {
		return key
	}
	return key + " (" + user + ")"
}

// by reports whether an actor is the one that a query asks for: as a whole, or by the
// name before the brackets.
func by(actor, asked string) bool {
	name, _, _ := strings.Cut(actor, " (")
	return asked == "" || actor == asked || name == asked
}

// Log is the audit log. It is safe for concurrent use.
type Log struct {
	js    jetstream.JetStream
	names events.Names
	log   *slog.Logger
}

// New returns the log in the stream AUDIT, which stream.Ensure has made. A line of log
// repeats each entry, without its reason and values.
func New(js jetstream.JetStream, names events.Names, log *slog.Logger) *Log {
	return &Log{js: js, names: names, log: log}
}

func (l *Log) stream() string { return l.names.Stream(events.StreamAudit) }

// The kinds of records, which are a token of their subjects.
const (
	kindEntry  = "entry"
	kindDetail = "detail"
	kindResult = "result"
)

// format is the number of the records' format. A reader refuses a greater one.
const format = 1

// record is an entry as it is stored: with Before, After and Reason only where it is
// about no customer, or about the erasure of one.
type record struct {
	Format int `json:"v"`
	Entry
	Detail uint64 `json:"detail,omitempty"` // sequence of its detail
	State  []byte `json:"state,omitempty"`  // of a configuration: see state
}

// detail is what can be erased of an entry about a customer.
type detail struct {
	Format int             `json:"v"`
	ID     string          `json:"id"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// result says what became of a change.
type result struct {
	Format int    `json:"v"`
	ID     string `json:"id"`
	Result Result `json:"result"`
}

// token returns the last token of an entry's subject. No customer's token has a ~.
func (e *Entry) token() string {
	if e.Customer != "" {
		return events.Token(e.Customer)
	}
	word, _, _ := strings.Cut(string(e.Action), ".")
	return "~" + word
}
