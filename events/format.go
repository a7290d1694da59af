package events

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrFormat is returned for what a newer version of Tidegate wrote in a form that this
// one does not know.
var ErrFormat = errors.New("run the version of Tidegate that wrote it here, or a newer one")

// newestFormat is the newest format of decisions, gates and packed messages that this
// version reads. Without a number they are of the first. A new version gives its format
// a number only when this one would misread it: what is unknown here is passed over.
const newestFormat = 1

// CheckFormat returns an ErrFormat, which names what, when its format is above the newest
// one that the caller reads. 0 is the format of what has no number: the first.
func CheckFormat(what string, format, newest uint64) error {
	if format <= newest {
		return nil
	}
	return fmt.Errorf("%s has format %d, and this version reads formats up to %d: %w", what, format, newest, ErrFormat)
}

// ParseDecision reads a decision, as the decisions bucket has it. It returns an
// ErrFormat for one of a newer version.
func ParseDecision(b []byte) (Decision, error) {
	var v struct {
		Decision
		Format uint64 `json:"format"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return Decision{}, err
	}
	return v.Decision, CheckFormat("the decision", v.Format, newestFormat)
}

// ParseGates reads the gates, as the decisions bucket has them. It returns an ErrFormat
// for those of a newer version.
func ParseGates(b []byte) (Gates, error) {
	var v struct {
		Gates
		Format uint64 `json:"format"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return Gates{}, err
	}
	return v.Gates, CheckFormat("the list of gates", v.Format, newestFormat)
}
