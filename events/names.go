package events

import (
	"strconv"
	"strings"
)

// Names returns the names of streams, subjects and buckets with the configured
// namespace (empty, or letters, digits, "_" and "-") as prefix.
type Names struct{ Namespace string }

// The streams.
const (
	StreamUsage   = "USAGE"
	StreamState   = "STATE"
	StreamSeen    = "SEEN"
	StreamWindows = "WINDOWS"
	StreamBilling = "BILLING"
	StreamAccount = "ACCOUNT"
	StreamLimits  = "LIMITS"
	StreamDead    = "DEAD"
	StreamAudit   = "AUDIT"
)

// The key-value buckets.
const (
	BucketDecisions = "decisions"
	BucketOwners    = "owners"
)

// The last tokens of the subjects for packed and control messages of a partition:
// usage.p.<p>.<token>. What an app publishes to usage.in is stored a level deeper, so
// that it is none of them, whatever it is published under.
const (
	BatchToken   = "~batch"   // events packed by a client or by ingest
	ImportToken  = "~import"  // history: events of any age
	ControlToken = "~control" // Tidegate's own control events
)

// GatesKey is the key in the decisions bucket that holds the gates.
const GatesKey = "_gates"

// Stream returns the name of a stream.
func (n Names) Stream(base string) string {
	if n.Namespace == "" {
		return base
	}
	return n.Namespace + "_" + base
}

// Bucket returns the name of a key-value bucket.
func (n Names) Bucket(base string) string { return n.Stream(base) }

// Subject returns a subject with the namespace before it.
func (n Names) Subject(s string) string {
	if n.Namespace == "" {
		return s
	}
	return n.Namespace + "." + s
}

// UsageIn returns the subject to which an app publishes a customer's event when it does
// not know the number of partitions.
func (n Names) UsageIn(customer string) string { return n.Subject("usage.in." + Token(customer)) }

// AccountIn returns the subject to which an app publishes what it says about a
// customer: an Identity.
func (n Names) AccountIn(customer string) string { return n.Subject("account.in." + Token(customer)) }

// Usage returns usage.p.<p>.<last>. last is one of the ~ tokens, or ">" for everything
// of the partition.
func (n Names) Usage(p int, last string) string {
	return n.Subject("usage.p." + strconv.Itoa(p) + "." + last)
}

// FromApp returns the token under which an app published a message that is stored in
// USAGE or ACCOUNT; false if Tidegate itself chose the subject.
func FromApp(subject string) (token string, ok bool) {
	rest, token, _ := cutLast(subject)
	_, before, more := cutLast(rest)
	return token, more && before == "in"
}

func cutLast(subject string) (before, last string, more bool) {
	i := strings.LastIndexByte(subject, '.')
	return subject[:max(i, 0)], subject[i+1:], i >= 0
}

// Log returns the subject of the fenced log of a role's partition.
func (n Names) Log(role string, p int) string {
	return n.Subject("state." + role + "." + strconv.Itoa(p) + ".log")
}

// Snap returns the prefix of the subjects of a partition's snapshots. Generation and
// part follow.
func (n Names) Snap(role string, p int) string {
	return n.Subject("state." + role + "." + strconv.Itoa(p) + ".snap")
}

// Seen returns the subject of a partition's fingerprints.
func (n Names) Seen(p int) string { return n.part("seen", p) }

// Windows returns the subject of a partition's totals.
func (n Names) Windows(p int) string { return n.part("windows", p) }

// Account returns the subject of changes of a partition's customers by Tidegate's own
// roles. What apps say is stored at account.<p>.in.<token>.
func (n Names) Account(p int) string { return n.part("account", p) }

// AccountOf returns the filters for all changes of customers in partition p, or in all
// partitions with "*".
func (n Names) AccountOf(p string) []string {
	return []string{n.Subject("account." + p), n.Subject("account." + p + ".in.*")}
}

// Limits returns the subject of limits that a partition's customers reach.
func (n Names) Limits(p int) string { return n.part("limits", p) }

// Dead returns the subject of a partition's dead letters.
func (n Names) Dead(p int) string { return n.part("dead", p) }

// Billing returns the subject of one kind of record in BILLING; "*" means all kinds.
func (n Names) Billing(kind string) string { return n.Subject("billing." + kind) }

// Audit returns the subject of one kind of record in AUDIT. token is a customer's, or
// "*".
func (n Names) Audit(kind, token string) string { return n.Subject("audit." + kind + "." + token) }

func (n Names) part(base string, p int) string { return n.Subject(base + "." + strconv.Itoa(p)) }

// Query returns the subject on which the owner of a role's partition answers questions
// (core NATS requests).
func (n Names) Query(role string, p int) string {
	return n.Subject("query." + role + "." + strconv.Itoa(p))
}

// Decision returns the subject to which the decisions bucket republishes what is put
// under a key, once it is stored; ">" means all keys.
func (n Names) Decision(key string) string { return n.Subject("decisions." + key) }

// DecisionKey returns the key of a decision in the decisions bucket.
func DecisionKey(customer, feature string) string { return Token(customer) + "." + Token(feature) }
