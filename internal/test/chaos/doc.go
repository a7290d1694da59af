// Package chaos proves Tidegate's promises on real processes that are killed,
// frozen and cut off.
//
// A run starts NATS (one server or a cluster of three), a database, and several
// `tidegate serve`, each behind a proxy of its own. It sends usage in every way
// there is, some of it again on purpose, and notes what was acknowledged. From
// a seed it draws faults and injects them meanwhile. When they are over and all
// is quiet, Check derives from the notes what must be found: windows,
// documents, decisions, mails, conversions, dead letters.
//
// The seed decides about faults and load, not about how processes interleave:
// the same seed may find something once in several runs.
package chaos
