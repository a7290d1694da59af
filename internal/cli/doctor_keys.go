package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/app"
)

// keys checks the API keys of the environment, which is that of `serve` when doctor
// runs beside it.
func (c *doctorCmd) keys(_ *env, _ context.Context) (string, string) {
	keys, _, err := app.KeysFromEnvironment()
	switch {
	case err != nil:
		return stateFailed, err.Error()
	case keys.Empty():
		return stateSkipped, "TIDEGATE_API_KEYS is not set here: without keys the API may only be reached from this machine"
	}
	return judgeKeys(keys, time.Now())
}

// judgeKeys names the keys that have ended, will end soon, or are weak.
func judgeKeys(keys ingest.Keys, now time.Time) (string, string) {
	var ended, ends []string
	for _, k := range keys.All() {
		switch said := fmt.Sprintf("%s (%s)", k.Name, k.LastDay()); {
		case k.Ended(now):
			ended = append(ended, said)
		case k.Ended(now.Add(app.KeyWarning)):
			ends = append(ends, said)
		}
	}
	var said []string
	if len(ended) > 0 {
		said = append(said, "have ended: "+strings.Join(ended, ", "))
	}
	if len(ends) > 0 {
		said = append(said, "end within 14 days: "+strings.Join(ends, ", "))
	}
	if err := app.CheckKeys(keys); err != nil {
		said = append(said, err.Error())
	}
	if len(said) > 0 {
		return stateWarning, strings.Join(said, "; ")
	}
	return stateOK, fmt.Sprintf("%d API keys", len(keys.All()))
}
