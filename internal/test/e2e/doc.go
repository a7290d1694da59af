// Package e2e tests the program `tidegate` from outside: as processes, over HTTP,
// NATS, MongoDB and Stripe's and Resend's protocols, and as the README tells a
// newcomer to use it. It has tests only.
package e2e
