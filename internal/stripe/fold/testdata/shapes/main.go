// Command shapes writes the objects of a Stripe API version as Stripe's mock
// server, stripe-mock, has them. The tests make their events from these shapes.
// From the repository:
//
//	go run ./internal/stripe/fold/testdata/shapes 2023-10-16=v0.183.0 2025-03-31.basil=v0.194.0 2026-08-26.dahlia=v0.203.0
//
// The version may also be a directory with the source of stripe-mock. (The shape
// of 2025-03-31.basil was made so, with v0.203.0's spec3.json beside v0.194.0's
// fixtures3.json.)
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const target = "internal/stripe/fold/testdata"

// kinds lists the objects that the fold reads.
var kinds = []string{"charge", "checkout.session", "customer", "dispute", "invoice", "price", "product", "subscription"}

func main() {
	for _, arg := range os.Args[1:] {
		version, from, ok := strings.Cut(arg, "=")
		if !ok {
			fmt.Fprintf(os.Stderr, "%s is not API-VERSION=STRIPE-MOCK-VERSION\n", arg)
			os.Exit(2)
		}
		if err := write(version, from); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", arg, err)
			os.Exit(1)
		}
	}
}

func write(version, from string) error {
	dir, err := source(from)
	if err != nil {
		return err
	}
	var fixtures struct{ Resources map[string]object }
	if err := read(filepath.Join(dir, "embedded/openapi/fixtures3.json"), &fixtures); err != nil {
		return err
	}
	var s spec
	if err := read(filepath.Join(dir, "embedded/openapi/spec3.json"), &s); err != nil {
		return err
	}
	shapes := map[string]object{}
	for _, kind := range kinds {
		if shapes[kind] = fixtures.Resources[kind]; shapes[kind] == nil {
			return fmt.Errorf("there is no %s", kind)
		}
		s.prune(shapes[kind])
	}
	b, err := json.MarshalIndent(shapes, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(target, version+".json"), append(b, '\n'), 0o644)
}

func read(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

type object = map[string]any

// spec says which fields an object has; fixtures keep some that are gone.
type spec struct {
	Components struct {
		Schemas map[string]struct{ Properties map[string]any }
	}
}

func (s *spec) prune(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			s.prune(e)
		}
	case object:
		kind, _ := v["object"].(string)
		known := s.Components.Schemas[strings.ReplaceAll(kind, ".", "_")].Properties
		if known == nil {
			known = s.Components.Schemas[kind].Properties
		}
		for k, e := range v {
			if _, ok := known[k]; known != nil && !ok {
				delete(v, k)
				continue
			}
			s.prune(e)
		}
	}
}

// source returns the directory of stripe-mock's source.
func source(from string) (string, error) {
	if filepath.IsAbs(from) {
		return from, nil
	}
	b, err := exec.Command("go", "mod", "download", "-json", "github.com/stripe/stripe-mock@"+from).Output()
	if err != nil {
		return "", fmt.Errorf("downloading stripe-mock: %w", err)
	}
	var module struct{ Dir string }
	err = json.Unmarshal(b, &module)
	return module.Dir, err
}
