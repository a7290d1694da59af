package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// decimals are those of currencies that don't have two
// (https://docs.stripe.com/currencies).
var decimals = map[string]int{
	"bif": 0, "clp": 0, "djf": 0, "gnf": 0, "jpy": 0, "kmf": 0, "krw": 0, "mga": 0, "pyg": 0, "rwf": 0, "vnd": 0, "vuv": 0, "xaf": 0, "xof": 0, "xpf": 0,
	"bhd": 3, "jod": 3, "kwd": 3, "omr": 3, "tnd": 3,
}

// amounts writes sums, which are in their currencies' smallest units, as people
// read them.
func amounts(all map[string]int64) string {
	var parts []string
	for _, currency := range slices.Sorted(maps.Keys(all)) {
		digits, known := decimals[currency]
		if !known {
			digits = 2
		}
		n := fmt.Sprintf("%0*d", digits+1, all[currency])
		if digits > 0 {
			n = n[:len(n)-digits] + "." + n[len(n)-digits:]
		}
		parts = append(parts, currency+" "+n)
	}
	return strings.Join(parts, ", ")
}
