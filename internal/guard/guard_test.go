package guard_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/internal/guard"
)

// hostile panics inside of a library that calls it.
type hostile struct{}

func (hostile) MarshalJSON() ([]byte, error) { panic(errors.New("it is hostile")) }

func TestAPanicBecomesAnErrorThatNamesOurOwnCode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		f    func() error
		what string
	}{
		"index":   {func() error { _ = []int{}[len(t.Name())]; return nil }, "index out of range"},
		"nil map": {func() error { noMap()[""] = 1; return nil }, "nil map"},
		"text":    {func() error { panic("what nobody expected") }, "what nobody expected"},
		"long":    {func() error { panic(strings.Repeat("ü", 1000)) }, "ü…"},
		"library": {func() error { _, err := json.Marshal(hostile{}); return err }, "it is hostile"},
		"again":   {func() error { panic(guard.Do(func() error { panic("first") })) }, "first"},
	} {
		err := guard.Do(func() error { return fmt.Errorf("wrapped: %w", guard.Do(c.f)) })
		p := guard.As(err)
		if p == nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !strings.Contains(p.What, c.what) || len(p.What) > 300 {
			t.Errorf("%s: what is %q", name, p.What)
		}
		if !strings.HasPrefix(p.Where, "guard_test.") || !strings.Contains(p.Where, "(internal/guard/guard_test.go:") {
			t.Errorf("%s: where is %q", name, p.Where)
		}
	}
}

func TestWithoutAPanicNothingChanges(t *testing.T) {
	t.Parallel()
	want := errors.New("usual")
	if v, err := guard.Value(func() (int, error) { return 7, want }); v != 7 || !errors.Is(err, want) || guard.As(err) != nil {
		t.Errorf("got %d, %v", v, err)
	}
	if err := guard.Do(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

func noMap() map[string]int { return nil }
