// Package events defines what apps and Tidegate exchange: usage events, decisions and
// gates, with their encodings, and the names of streams, subjects, buckets and tokens.
// The client, the gateway and all roles import it. It imports only the standard
// library, so that an app with the client needs nothing else. Its functions are safe
// for concurrent use; a Batch is not.
package events
