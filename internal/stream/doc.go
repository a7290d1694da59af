// Package stream is the plumbing of the roles that own partitions: streams and
// buckets, leases, the fenced log of a partition with its epochs, commits and
// snapshots, and the loop that reads inputs from committed positions and
// drives a Processor.
//
// A partition's state is what its log says: the last manifest's snapshot and
// the commits after it. Whoever holds the lease owns the partition; that there
// is only one such process is likely by the lease and certain by the fence: the
// log's subject is written only at the sequence that its owner knows.
package stream
