// Command vectors generates test vectors from the functions that decide: tables that
// the tests of all clients read, so that all clients decide in the same way. Its test
// compares the tables in docs/vectors. Called by hand, it prints more random cases:
//
//	go run ./internal/test/vectors -kind later -n 4000 -seed 7
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
)

// table is a file of vectors.
type table struct {
	About string `json:"about"`
	Cases []any  `json:"cases"`
}

// kinds holds the tables by name, with a description, the cases by hand, and the
// function that draws a random case.
var kinds = map[string]struct {
	about  string
	byHand func() []any
	draw   func(r *rand.Rand) any
	random int // cases in the committed table
}{
	"decide":    {aboutDecide, decideByHand, drawDecide, 250},
	"later":     {aboutLater, laterByHand, drawLater, 400},
	"trigger":   {aboutTrigger, triggerByHand, drawTrigger, 250},
	"answer":    {aboutAnswer, answerByHand, drawAnswer, 60},
	"token":     {aboutToken, tokenByHand, drawToken, 200},
	"customer":  {aboutCustomer, customerByHand, drawCustomer, 60},
	"partition": {aboutPartition, partitionByHand, drawPartition, 200},
}

// draw returns n random cases of a kind. Equal seeds give equal cases.
func draw(kind string, n int, seed uint64) []any {
	r := rand.New(rand.NewPCG(seed, 0))
	cases := make([]any, n)
	for i := range cases {
		cases[i] = kinds[kind].draw(r)
	}
	return cases
}

func main() {
	kind := flag.String("kind", "later", "decide, later, trigger, answer, token, customer or partition")
	n := flag.Int("n", 1000, "how many cases")
	seed := flag.Uint64("seed", 1, "what they are drawn from")
	flag.Parse()
	if _, ok := kinds[*kind]; !ok {
		fmt.Fprintf(os.Stderr, "vectors: no kind %q\n", *kind)
		os.Exit(2)
	}
	if err := json.NewEncoder(os.Stdout).Encode(table{kinds[*kind].about, draw(*kind, *n, *seed)}); err != nil {
		fmt.Fprintln(os.Stderr, "vectors:", err)
		os.Exit(1)
	}
}
