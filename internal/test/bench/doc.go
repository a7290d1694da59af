// Package bench has the benchmarks of a whole Tidegate. Each also measures a bare loop or
// another program that does the minimum of the same work. `make bench` runs them and
// those of single packages, and prints a table.
package bench
