// Command serve starts the tests' MongoDB server and prints its URI, for
// trying things by hand and to build the server before the tests need it
// (-build). It stops, and forgets what was stored, at the first interrupt.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

func main() {
	only := flag.Bool("build", false, "build the server, see that it starts, and end")
	flag.Parse()
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt, syscall.SIGTERM)
	uri, stop, err := testmongo.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer stop()
	fmt.Println(uri)
	if !*only {
		<-stopped
	}
}
