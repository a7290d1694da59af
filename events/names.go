package events

import "strconv"

// Names gives streams, subjects and buckets behind the configured namespace
// (empty, or letters, digits, "_" and "-").
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
)

// The key-value buckets.
const (
	BucketDecisions = "decisions"
	BucketOwners    = "owners"
)

// Last tokens of the subjects that packed and control messages of a partition
// are published to: usage.p.<p>.<one of these>.
const (
	BatchToken   = "~batch"   // events packed by a client or by ingest
	ImportToken  = "~import"  // history: events of any age
	ControlToken = "~control" // Tidegate's own control events
)

// GatesKey is the key in the decisions bucket that holds the gates.
const GatesKey = "_gates"

// Stream is the name of a stream.
func (n Names) Stream(base string) string {
	if n.Namespace == "" {
		return base
	}
	return n.Namespace + "_" + base
}

// Bucket is the name of a key-value bucket.
func (n Names) Bucket(base string) string { return n.Stream(base) }

// Subject puts the namespace before a subject.
func (n Names) Subject(s string) string {
	if n.Namespace == "" {
		return s
	}
	return n.Namespace + "." + s
}

// UsageIn is where an app that knows nothing of partitions publishes a
// customer's event.
func (n Names) UsageIn(customer string) string { return n.Subject("usage.in." + Token(customer)) }

// Usage is usage.p.<p>.<last>; last is a customer's token, "*" or one of the
// ~ tokens.
func (n Names) Usage(p int, last string) string {
	return n.Subject("usage.p." + strconv.Itoa(p) + "." + last)
}

// Log is the fenced log of a role's partition.
func (n Names) Log(role string, p int) string {
	return n.Subject("state." + role + "." + strconv.Itoa(p) + ".log")
}

// Snap is the prefix of a role's snapshots of a partition; generation and
// part follow.
func (n Names) Snap(role string, p int) string {
	return n.Subject("state." + role + "." + strconv.Itoa(p) + ".snap")
}

// Seen is the subject of a partition's fingerprints.
func (n Names) Seen(p int) string { return n.part("seen", p) }

// Windows is the subject of a partition's totals.
func (n Names) Windows(p int) string { return n.part("windows", p) }

// Account is the subject of what changes about a partition's customers.
func (n Names) Account(p int) string { return n.part("account", p) }

// Limits is the subject of limits that a partition's customers reach.
func (n Names) Limits(p int) string { return n.part("limits", p) }

// Dead is the subject of what a partition could not process.
func (n Names) Dead(p int) string { return n.part("dead", p) }

// Billing is the subject of one kind of record in BILLING; "*" means all.
func (n Names) Billing(kind string) string { return n.Subject("billing." + kind) }

func (n Names) part(base string, p int) string { return n.Subject(base + "." + strconv.Itoa(p)) }

// Query is where the owner of a role's partition answers questions
// (core NATS requests).
func (n Names) Query(role string, p int) string {
	return n.Subject("query." + role + "." + strconv.Itoa(p))
}

// DecisionKey is the key of a decision in the decisions bucket.
func DecisionKey(customer, feature string) string { return Token(customer) + "." + Token(feature) }
