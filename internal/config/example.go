package config

import _ "embed" // for the example

// ExampleYAML is the commented configuration that `tidegate init` writes.
//
//go:embed example.yaml
var ExampleYAML string

// Example is what applies without a configuration file: the feature api with
// 100 free uses in 30 days. It is ExampleYAML, parsed.
func Example() *Config {
	c, err := Parse([]byte(ExampleYAML), nil)
	if err != nil {
		panic("config: the built-in example is wrong: " + err.Error())
	}
	return c
}
