// Tidegate gates freemium features: it counts usage events into windows,
// publishes block and unblock decisions that apps keep in memory, mails an
// upgrade prompt when a limit is reached and records the conversion. Roles and
// commands are in this one binary; see `tidegate help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // quiet hours have a time zone, and images often no list of them

	"github.com/tidegate-io/tidegate/internal/buildinfo"
	"github.com/tidegate-io/tidegate/internal/cli"
)

// What the linker may set. What is empty is read from the binary itself.
var version, commit string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, buildinfo.Read(version, commit))
	stop()
	os.Exit(code)
}
