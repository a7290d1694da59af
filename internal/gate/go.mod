// A module of its own, because the client imports it.
module github.com/tidegate-io/tidegate/internal/gate

go 1.25.0

// Requirements of tests are not listed, as in client/go.mod.
require github.com/tidegate-io/tidegate/events v0.0.0
