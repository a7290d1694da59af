package config

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Setting is a value of the file as it stands there. A variable is not expanded, so
// the text can be shown and kept.
type Setting struct {
	Text string `json:"text"`
	// Digest is of the value with its variables expanded, so that another value of
	// a variable is noticed; "" without a variable. It is short on purpose: it
	// tells values apart and does not give them away.
	Digest string `json:"digest,omitempty"`
}

// Written returns the values of the file by their paths. A gate is named by its
// feature, so that gates that change places change nothing:
// "gates.api.condition.limit.free". The map must not be changed.
func (c *Config) Written() map[string]Setting { return c.written }

// collect takes the values below a node. The decoder has accepted the document, so
// its depth and size are bounded.
func (d *decoder) collect(to map[string]Setting, path string, n *yaml.Node) {
	switch n = resolve(n); n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			d.collect(to, join(path, resolve(n.Content[i]).Value), n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			name := path + "[" + strconv.Itoa(i) + "]"
			if feature := featureOf(item); path == "gates" && feature != "" {
				name = join(path, feature)
			}
			d.collect(to, name, item)
		}
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return
		}
		s := Setting{Text: n.Value}
		if v, changed, err := expand(n.Value, d.env); err == nil && changed {
			sum := sha256.Sum256([]byte(path + "\x00" + v))
			s.Digest = hex.EncodeToString(sum[:4])
		}
		to[path] = s
	}
}

// featureOf returns the feature of a gate, or "".
func featureOf(gate *yaml.Node) string {
	gate = resolve(gate)
	if gate.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(gate.Content); i += 2 {
		if resolve(gate.Content[i]).Value == "feature" {
			return resolve(gate.Content[i+1]).Value
		}
	}
	return ""
}
