package main

import (
	"math/rand/v2"

	"github.com/tidegate-io/tidegate/events"
)

const (
	aboutToken = "The token of an id: what stands for a customer or a feature in subjects and keys."

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
