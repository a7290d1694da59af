// Package gate is the one place that decides: how usage falls into windows,
// what a plan allows, what a decision means at a moment, which gate a request
// meets, and what a blocked visitor is answered. Everything here is pure: time
// and state are arguments. The server and the Go client import it; the clients
// in other languages are held equal to it by the tables in docs/vectors.
package gate
