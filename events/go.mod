module github.com/tidegate-io/tidegate/events

go 1.25.0

// Nothing is required: requirements of tests are not listed, as in client/go.mod.
