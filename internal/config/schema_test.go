package config

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

const schemaFile = "../../docs/tidegate.schema.json"

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON returns a document as an editor passes it to a schema: moments are text, and
// infinity is the greatest number.
func asJSON(t *testing.T, doc string) any {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(doc), &n); err != nil {
		t.Fatal(err)
	}
	return nodeAsJSON(t, n.Content[0])
}

func nodeAsJSON(t *testing.T, n *yaml.Node) any {
	switch n = resolve(n); n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = nodeAsJSON(t, n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, nodeAsJSON(t, item))
		}
		return list
	}
	if tag := n.ShortTag(); tag == "!!str" || tag == "!!timestamp" {
		return n.Value
	}
	switch strings.ToLower(n.Value) {
	case ".inf":
		return json.Number("1e300")
	case "-.inf":
		return json.Number("-1e300")
	case ".nan":
		return "NaN" // JSON has none
	}
	var v any
	if err := n.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSchemaAcceptsValidDocuments(t *testing.T) {
	t.Parallel()
	s := compileSchema(t)
	for name, doc := range map[string]string{
		"example": ExampleYAML, "uncommented example": uncommented(t), "full": full, "base": base,
		"empty sections": "plans: {free: {default: true}, none: , paid: {any_subscription: true, stripe: }}\ngates: []\nupgrade:\nstripe:\nmail:\nretention:\n",
		"bare gate":      "retention: {usage: 3692d}\nplans: {a: {default: true}}\ngates:\n  - {feature: f, condition: {limit: {a: 0}, period: 3660d, warn_at: }, trigger: , meter: , action: , recovery: , email_from: }\n",
		"variables":      `{partitions: "${N:-4}", plans: {a: {default: "${D:-true}"}}, gates: [{feature: "${F:-f}", fail: "${X:-open}", condition: {limit: {a: "${L:-.inf}"}, period: "${P:-1d}", window: "${W:-rolling}"}}]}`,
	} {
		if _, err := Parse([]byte(doc), environment); err != nil {
			t.Errorf("%s: Parse refuses it: %v", name, err)
		}
		if err := s.Validate(asJSON(t, doc)); err != nil {
			t.Errorf("%s: the schema refuses it: %v", name, err)
		}
	}
}

// uncommented returns the example with its commented keys in force, which must be
// valid too.
func uncommented(t *testing.T) string {
	t.Helper()
	var out []string
	for _, line := range strings.Split(ExampleYAML, "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		if rest, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "# "); ok {
			key, _, isKey := strings.Cut(strings.TrimSpace(rest), ":")
			if isKey && wordOf(key) {
				line = indent + rest
			}
		}
		out = append(out, line)
	}
	doc := strings.Join(out, "\n")
	doc = strings.Replace(doc, "aggregate: count ", "aggregate: sum ", 1)
	return strings.Replace(doc, "free: 100", "free: 100\n        pro: 0.5", 1)
}

func TestSchemaRefusesWhatItCan(t *testing.T) {
	t.Parallel()
	s := compileSchema(t)
	for _, table := range [][]spoiled{topProblems, planProblems, gateProblems, meterProblems, limitProblems, variableProblems} {
		for _, c := range table {
			refused := s.Validate(asJSON(t, c.document())) != nil
			if refused != c.schema {
				t.Errorf("%s: refused by the schema: %v, want %v\n%s", c.name, refused, c.schema, c.document())
			}
		}
	}
}

func TestSchemaHasTheDecodersKeys(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	got, want := map[string][]string{}, map[string][]string{}
	collectKeys(t, schema["$defs"].(map[string]any), schema, "", got)
	for shape, names := range keys {
		want[shape] = slices.Sorted(slices.Values(names))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the schema's keys differ from the decoder's\n got %v\nwant %v", got, want)
	}
}

func collectKeys(t *testing.T, defs, schema map[string]any, shape string, into map[string][]string) {
	t.Helper()
	if name, ok := schema["$ref"].(string); ok {
		schema = defs[strings.TrimPrefix(name, "#/$defs/")].(map[string]any)
	}
	choices, _ := schema["anyOf"].([]any)
	for _, c := range choices {
		collectKeys(t, defs, c.(map[string]any), shape, into)
	}
	if items, ok := schema["items"].(map[string]any); ok && items["$ref"] == nil { // a list whose items may also stand alone
		collectKeys(t, defs, items, shape+"[]", into)
	}
	if values, ok := schema["additionalProperties"].(map[string]any); ok {
		collectKeys(t, defs, values, shape+".*", into)
	}
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return
	}
	if schema["additionalProperties"] != false {
		t.Errorf("%q takes unknown keys", shape)
	}
	for name, v := range properties {
		property := v.(map[string]any)
		into[shape] = append(into[shape], name)
		if property["description"] == nil {
			t.Errorf("%q in %q has no description", name, shape)
		}
		collectKeys(t, defs, property, strings.TrimPrefix(shape+"."+name, "."), into)
	}
	slices.Sort(into[shape])
}
