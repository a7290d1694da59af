// A web service whose feature is gated by Tidegate.
package main

import (
	"cmp"
	"context"
	"log"
	"net/http"
	"os"

	"github.com/tidegate-io/tidegate/client"
)

func main() {
	server, err := client.FromEnvironment(os.Getenv) // NATS_URL, NATS_USER, …
	if err != nil {
		log.Fatal(err)
	}
	nc, err := server.Connect()
	if err != nil {
		log.Fatal(err)
	}
	gate, err := client.New(nc, client.Source("go-service"))
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close(context.Background()) // delivers what is buffered

	search := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("found\n")) })
	customer := func(r *http.Request) string { return r.Header.Get("X-Customer") } // your login's
	http.Handle("POST /api/features/search", gate.Gate("api", customer)(search))

	address := cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8000")
	log.Printf("listening on http://%s", address)
	log.Print(http.ListenAndServe(address, nil))
}
