package kv

import (
	"errors"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/test/kept"
)

func TestDocumentsOfFormerVersionsAreRead(t *testing.T) {
	t.Parallel()
	b := &bucket{name: "test"}
	kept.Check(t, "format1/usage",
		func() ([]byte, error) { return encode("key", "id", kept.Sample[records.Window]()) },
		func(value []byte) (any, error) {
			var d records.Window
			return &d, b.decode("key", value, &d)
		})
	kept.Check(t, "format1/customer",
		func() ([]byte, error) { return encode("key", "id", kept.Sample[records.Customer]()) },
		func(value []byte) (any, error) {
			var d records.Customer
			return &d, b.decode("key", value, &d)
		})
	var d records.Customer
	if err := b.decode("key", []byte(`{"customer":"acme","format":2}`), &d); !errors.Is(err, events.ErrFormat) {
		t.Errorf("a document of a newer version: %v", err)
	}
	if err := b.decode("key", []byte(`{"customer":"acme","locale":"\"format\":2"}`), &d); err != nil {
		t.Errorf("a document that speaks of formats: %v", err)
	}
}
