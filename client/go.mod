// What a Go app takes on when it imports the client. nats.go is required in the
// newest version that needs no newer Go than this module; an app may use any
// later one. The tests run with the version in the root's go.mod.
//
// Requirements of tests are not listed, so don't `go mod tidy` here: in the
// workspace the tests find nats-server and the rest in the root module, and a
// release has no tests. See "Modules" in docs/testing.md.
module github.com/tidegate-io/tidegate/client

go 1.25.0

require (
	github.com/nats-io/nats.go v1.53.1
	github.com/tidegate-io/tidegate/events v0.0.0
	github.com/tidegate-io/tidegate/internal/gate v0.0.0
)

require (
	github.com/klauspost/compress v1.18.5 // indirect
	github.com/nats-io/nkeys v0.4.15 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/crypto v0.49.0 // indirect
	golang.org/x/sys v0.42.0 // indirect
)
