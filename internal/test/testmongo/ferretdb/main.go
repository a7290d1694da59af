// Command ferretdb is the server for the tests of the MongoDB store: FerretDB on
// SQLite, which implements MongoDB's protocol.
//
// It has its own module, so that its dependencies do not become the product's. It
// prints its URI as the only line on standard output. It ends when standard input is
// closed, so that it ends with its test's process.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	dir := flag.String("dir", "", "directory of the databases; must exist")
	flag.Parse()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := run(ctx, *addr, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, dir string) error {
	// A test's data need not survive a crash of the machine.
	files := url.URL{Scheme: "file", Opaque: dir + "/", RawQuery: "_pragma=synchronous(off)"}
	f, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: addr},
		Handler:   "sqlite",
		SQLiteURL: files.String(),
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	go func() { fmt.Println(f.MongoDBURI()) }() // known when Run listens
	return f.Run(ctx)
}
