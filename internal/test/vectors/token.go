package main

import (
	"math/rand/v2"
	"strings"

	"github.com/tidegate-io/tidegate/events"
)

const (
	aboutToken = "The token of an id: what stands for a customer or a feature in subjects and keys."

	aboutCustomer = "Whether a text can be a customer's id."

	aboutPartition = "The partition of a customer, from 0 to partitions - 1."
)

type tokenCase struct {
	ID   string `json:"id"`
	Want string `json:"want"`
}

type partitionCase struct {
	Customer   string `json:"customer"`
	Partitions int    `json:"partitions"`
	Want       int    `json:"want"`
}

var oddIDs = []string{"acme", "a.b", "ada@acme.example", "a b", "a*", "a>", "$x", "_x", "=x", "a=b", "=00", "é", "日本", "😀", "a/b", "A-Z_0", "%41", "\u00a0", "\"", "\\", "'", "{}",
	"a-very-long-id-that-someone-made-of-a-uuid-6f1d2c3b-4a5e-6f70-8192-a3b4c5d6e7f8"}

type customerCase struct {
	ID   string `json:"id"`
	Want bool   `json:"want"`
}

func customerOf(id string) customerCase { return customerCase{id, events.ValidateCustomer(id) == nil} }

func customerByHand() []any {
	var out []any
	for _, id := range append(oddIDs, "", ".", "..", "...", "a..", "\x00", "a\n", "\u007f", "\u0085", "\u00a0", "\u200b", "\u200e", "a\u200f",
		"\u061c", "user\u202egnp", "\u202a", "\u2066x\u2069", "\u2028", "\ufeff", "\ufffd", strings.Repeat("x", 256), strings.Repeat("x", 257),
		strings.Repeat("é", 128), strings.Repeat("é", 129)) {
		out = append(out, customerOf(id))
	}
	return out
}

func drawCustomer(r *rand.Rand) any {
	odd := []rune("ab.\u200d\u202b\u2067\u061c\u007f\u0085 é")
	return customerOf(string(odd[r.IntN(len(odd))]) + drawID(r))
}

func tokenByHand() []any {
	var out []any
	for _, id := range oddIDs {
		out = append(out, tokenCase{id, events.Token(id)})
	}
	return out
}

func partitionByHand() []any {
	var out []any
	for _, id := range oddIDs {
		for _, n := range []int{1, 4, 32} {
			out = append(out, partitionCase{id, n, events.PartitionOf(id, n)})
		}
	}
	return out
}

func drawID(r *rand.Rand) string {
	letters := []rune("abcXYZ019-_.=@ $/%é日😀*>\"\\~+,;:!")
	id := make([]rune, 1+r.IntN(24))
	for i := range id {
		id[i] = letters[r.IntN(len(letters))]
	}
	return string(id)
}

func drawToken(r *rand.Rand) any {
	id := drawID(r)
	return tokenCase{id, events.Token(id)}
}

func drawPartition(r *rand.Rand) any {
	id, n := drawID(r), 1+r.IntN(256)
	return partitionCase{id, n, events.PartitionOf(id, n)}
}
