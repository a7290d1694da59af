// Command serve starts the tests' MongoDB server and prints its URI, to use it by hand.
// With -build it only builds the server, before tests need it. At the first interrupt
// it stops and removes its data.
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
