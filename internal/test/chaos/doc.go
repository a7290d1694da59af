// Package chaos tests Tidegate's guarantees on real processes, which it kills,
// freezes and disconnects. Its tests and the fault runs of the makefile call Run.
//
// A run starts NATS (one server or a cluster of three), a database, and several
// `tidegate serve`, each behind its own proxy. It sends usage over all interfaces,
// some of it twice on purpose, and records what was acknowledged. Meanwhile it draws
// faults from a seed and injects them. When the faults are over and nothing changes
// any more, Check computes the expected windows, documents, decisions, mails,
// conversions and dead letters from the record, and compares.
//
// The seed determines faults and load, but not how processes interleave: a run with
// the same seed may find an error only sometimes.
package chaos
