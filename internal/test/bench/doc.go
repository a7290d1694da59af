// Package bench has the benchmarks of a whole Tidegate, each beside a bare loop or
// another program that does the least of the same. `make bench` runs them, with
// those of single packages, and prints a table.
package bench
