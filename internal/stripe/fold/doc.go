// Package fold turns Stripe's events into what a customer may use. It verifies
// webhooks, folds the stream BILLING into subscription states, and finds the
// payments that moved a customer from a free to a paid plan.
//
// The gateway calls Verify. A stream.Supervisor runs the Processor, which owns
// the State. A State is not safe for concurrent use; of a Processor, Configure
// and Figures are.
//
// "Customer" is a customer of the operator's app. A Stripe customer is a
// "party" in the code.
//
// The fold keeps facts and derives conclusions from them after each record. The
// facts are all versions of a subscription (up to a bound), all claims about the
// customer that a Stripe customer belongs to, and the earliest payment. Merging
// facts does not depend on their order or on repetition, so any order and any
// duplication of Stripe's events ends in the same state. Events of an unmapped
// Stripe customer are kept, and apply as soon as the Stripe customer is mapped.
package fold
