// Package billing turns what Stripe says into what a customer may use: it
// verifies webhooks, folds the stream BILLING into subscription states, and
// says when a payment moved a customer from a free to a paid plan.
//
// The fold keeps facts, not conclusions: every version of a subscription that
// was ever seen (bounded), every claim about whose it is, the earliest payment.
// Facts are joined in a way that forgets the order in which they came and how
// often; what a customer may use is derived from them anew after each record.
// So any order and any duplication of Stripe's events ends in the same state,
// and an event of a Stripe customer that nobody knows yet applies at once when
// somebody claims it.
package fold
