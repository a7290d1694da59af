package main

import "testing"

func TestOwnershipNamesWhoHasWhat(t *testing.T) {
	got := ownership(map[string]string{"aggregator.10": "b", "aggregator.2": "b", "enforcer.0": "b", "notifier.0": "a", "odd": "c"})
	if want := "a has notifier 0; b has aggregator 2,10 enforcer 0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
