// Package events is the vocabulary of Tidegate: usage events, window totals,
// decisions, and the records that the roles exchange over NATS streams, with
// their wire forms, subjects and tokens. It imports nothing but the standard
// library, so that an app which imports the client pays for nothing else.
package events
