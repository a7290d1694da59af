package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func reference(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestReferenceNamesEveryKey(t *testing.T) {
	t.Parallel()
	doc := reference(t)
	for shape, names := range keys {
		for _, key := range names {
			if !strings.Contains(doc, "`"+key+"`") && !strings.Contains(doc, "\n## "+key+"\n") {
				t.Errorf("the reference does not mention %q of %q", key, shape)
			}
		}
	}
}

func TestReferenceNamesTheDefaults(t *testing.T) {
	t.Parallel()
	doc := reference(t)
	for key, value := range map[string]string{
		"from": DefaultFrom, "customer_key": DefaultCustomerKey, "grace": written(DefaultGrace), "reconcile": written(DefaultReconcile), "cool_down": "24h",
		"usage": written(DefaultUsage), "horizon": written(DefaultHorizon), "message": DefaultMessage,
		"window": written(DefaultConversion),
	} {
		if row := "| `" + key + "` | `" + value + "` |"; !strings.Contains(doc, row) {
			t.Errorf("the reference has no row %s", row)
		}
	}
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

func TestReferenceExamplesAreRight(t *testing.T) {
	t.Parallel()
	blocks := yamlBlock.FindAllStringSubmatch(reference(t), -1)
	if len(blocks) < 4 {
		t.Fatalf("found %d examples", len(blocks))
	}
	for _, b := range blocks {
		doc := b[1]
		if !strings.Contains(doc, "plans:") {
			doc += "plans: {free: {default: true}}\n"
		}
		if !strings.Contains(doc, "gates:") {
			doc += "gates: []\n"
		}
		if _, err := Parse([]byte(doc), nil); err != nil {
			t.Errorf("%v\n%s", err, doc)
		}
	}
}
