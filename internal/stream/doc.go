// Package stream lets roles own partitions. It makes the streams and buckets,
// holds leases, keeps the log of each partition with its epochs, commits and
// snapshots, reads the inputs from the committed positions, drives the role's
// Processor, and carries questions to owners and back.
//
// The log of a partition says what its state is: the snapshot of the newest
// manifest, and the commits after it. The lease makes it likely that a partition
// has one owner. The fence makes it certain that one counts: the log's subject
// accepts a record only from the writer that knows the sequence of the last one.
package stream
