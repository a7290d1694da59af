package client

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// TestCheckDecidesAsTheVectorsSay: what the cache keeps, and the short way of
// Check, give what docs/vectors/later.json says.
func TestCheckDecidesAsTheVectorsSay(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../docs/vectors/later.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Cases []struct {
			Name        string
			Gate        events.Gate
			DefaultPlan string `json:"default_plan"`
			Customer    string
			Decision    *events.Decision
			Used        events.NullValue
			Now         time.Time
			Want        events.Decision
		}
	}
	if err := json.Unmarshal(file, &all); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, v := range all.Cases {
		if v.Used.Valid || v.Want.Reason == events.NoDecision { // what is counted is a tally's to know
			continue
		}
		checked++
		c := &Client{cache: newCache(), now: func() time.Time { return v.Now }}
		c.coarse.Store(v.Now.UnixNano())
		d := newDraft(0)
		d.gates = newGateSet(&events.Gates{Partitions: 1, DefaultPlan: v.DefaultPlan, Gates: []events.Gate{v.Gate}})
		if v.Decision != nil {
			body, err := json.Marshal(v.Decision)
			if err == nil {
				err = c.cache.load(d, entry{events.DecisionKey(v.Customer, v.Gate.Feature), body})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		c.cache.publish(d, v.Now)
		if got := c.Check(v.Customer, v.Gate.Feature); !reflect.DeepEqual(got, v.Want) {
			t.Errorf("%s %+v at %v, gate %+v\n got %+v\nwant %+v", v.Name, v.Decision, v.Now, v.Gate, got, v.Want)
		}
	}
	if checked < 100 {
		t.Errorf("only %d cases were checked", checked)
	}
}
