package config

import _ "embed" // for the example

// ExampleYAML is the commented configuration that `tidegate init` writes.
//
//go:embed example.yaml
var ExampleYAML string

// Example returns the configuration that applies without a file: the feature api with
// 100 free uses in 30 days. It parses ExampleYAML.
func Example() *Config {
	c, err := Parse([]byte(ExampleYAML), nil)
	if err != nil {
		panic("config: the built-in example is wrong: " + err.Error())
	}
	return c
}
