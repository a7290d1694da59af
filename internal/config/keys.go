package config

import (
	"slices"
	"strings"
)

// keys holds all keys that a file may have, by the shape of their mapping: "*" means
// a name that the operator chooses, "[]" the items of a list. The JSON Schema has the
// same keys (a test compares them).
var keys = map[string][]string{
	"":                 {"namespace", "public_url", "from", "upgrade", "stripe", "mail", "conversions", "retention", "decisions", "http", "partitions", "plans", "gates"},
	"upgrade":          {"url", "price", "success_url", "cancel_url", "portal"},
	"stripe":           {"customer_key", "grace", "reconcile"},
	"mail":             {"cool_down", "templates", "quiet_hours"},
	"mail.quiet_hours": {"from", "to", "zone"},
	"conversions":      {"window"},
	"retention":        {"usage", "horizon", "audit"},
	"decisions":        {"compare"},
	"http": {"requests_per_second", "events_per_second", "address_per_second", "new_customers_per_hour", "new_types_per_hour", "streams_per_key", "streams",
		"connections", "proxies", "refuse_uncounted"},
	"plans.*":                       {"default", "any_subscription", "stripe"},
	"plans.*.stripe":                {"lookup_keys", "products", "prices"},
	"gates[]":                       {"feature", "opinion", "trigger", "meter", "condition", "action", "recovery", "fail", "enforce_from", "email_from"},
	"gates[].trigger":               {"type", "endpoint", "method", "ignore_case"},
	"gates[].meter":                 {"event", "aggregate", "value", "cap"},
	"gates[].condition":             {"type", "limit", "period", "window", "warn_at"},
	"gates[].action":                {"type", "message", "upgrade_prompt"},
	"gates[].action.upgrade_prompt": {"type", "provider", "template", "warnings"},
	"gates[].recovery":              {"retries"},
	"gates[].email_from":            {"database", "collection", "key", "field"},
}

// The mappings whose keys are names that the operator chooses.
const (
	openPlans  = "plans"
	openLimits = "gates[].condition.limit"
)

func isOpen(shape string) bool { return shape == openPlans || shape == openLimits }

// unknownKey returns the message for a key that the shape does not have.
func unknownKey(shape, key string) string {
	allowed := keys[shape]
	if key == "<<" {
		return "merge keys are not supported: write the values out, or use an alias (*name) for a whole value"
	}
	if best := nearest(key, allowed); best != "" {
		return "unknown key: did you mean " + quote(best) + "?"
	}
	msg := "unknown key"
	if home := homes(key); home != "" {
		msg += ": did you mean the one of " + home + "?"
	}
	return msg + " (allowed here: " + strings.Join(allowed, ", ") + ")"
}

// homes returns the mappings that have the key, in words.
func homes(key string) string {
	var in []string
	for shape, ks := range keys {
		if slices.Contains(ks, key) {
			if shape == "" {
				shape = "the top level"
			}
			in = append(in, shape)
		}
	}
	slices.Sort(in)
	return strings.Join(in, " or ")
}

// nearest returns the word that is most similar to a misspelt one, or "".
func nearest(word string, among []string) string {
	if len(word) > 32 {
		return ""
	}
	plain := strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(word))
	best, least := "", 1+len(plain)/3 // short words are similar by chance
	for _, w := range among {
		if d := distance(plain, strings.ToLower(w)); d <= least {
			best, least = w, d-1
		}
	}
	return best
}

// distance returns how many letters have to be changed, added, removed or swapped
// with their neighbour to turn a into b.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
