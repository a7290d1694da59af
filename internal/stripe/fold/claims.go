package fold

import (
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate/internal/stream"
)

// ClaimsQuestion asks whose some Stripe customers are, by their ids, at most MaxClaims.
// The answer leaves out those that are nobody's.
var ClaimsQuestion = stream.Question[[]string, map[string]Claim]{Role: stream.RoleBilling, Kind: "claims", Fresh: true}

// MaxClaims is how many Stripe customers one ClaimsQuestion may ask about. The ids and
// the answer must fit into messages.
const MaxClaims = 500

// Claim says whose a Stripe customer is.
type Claim struct {
	Mapped string   `json:"mapped,omitempty"` // by the operator; "": Stripe's objects say whose
	Owners []string `json:"owners"`           // one or two of all
}

// TakenFrom returns another customer whose the Stripe customer is, or "".
func (c *Claim) TakenFrom(customer string) string {
	for _, owner := range c.Owners {
		if owner != customer {
			return owner
		}
	}
	return ""
}

// Claims answers ClaimsQuestion.
func (s *State) Claims(ids []string) map[string]Claim {
	claims := map[string]Claim{}
	for _, id := range ids[:min(len(ids), MaxClaims)] {
		if owners := slices.Sorted(maps.Keys(s.owned[id])); len(owners) > 0 {
			claims[id] = Claim{Mapped: s.linked(id), Owners: owners[:min(len(owners), 2)]}
		}
	}
	return claims
}
