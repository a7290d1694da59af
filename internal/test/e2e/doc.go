// Package e2e tests the program `tidegate` from outside: as processes, over HTTP, NATS,
// MongoDB and the APIs of Stripe and Resend, and with the commands of the README. It has
// only tests.
package e2e
