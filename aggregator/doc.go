// Package aggregator counts usage events in windows.
//
// A [Processor] owns one partition of the stream USAGE and folds its messages in
// order: batches of events, single events, imports, and control events, which
// change the configuration or one customer. It holds all windows of its customers
// in memory and appends what has changed to the partition's log, as a commit.
//
// An event counts exactly once. A commit contains the position in USAGE together
// with everything that the messages up to there have changed, so a new owner
// continues at exactly the state that it reads from the log. Each event has a
// fingerprint of its customer, source and id, and the fold ignores an event whose
// fingerprint it has seen within the horizon. The log contains the new
// fingerprints, the stream SEEN the others.
//
// The Processor emits the totals that can change a decision of the enforcer to the
// stream WINDOWS, and writes each window as a document to the [Store]. After a crash
// it may repeat both, and the receivers ignore what is not newer. Events that it
// cannot count become dead letters. [Replay] folds the stream again, beside the
// owner, to verify the windows.
package aggregator
