// Command routers serves the routes that python/tests/test_spellings.py asks for,
// with net/http's own router. It prints its address.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"time"
)

var routes = []struct {
	name, path string
	methods    []string
}{
	{"features", "/api/features", []string{"POST"}},
	{"features", "/api/features/{rest...}", []string{"POST"}},
	{"export", "/api/export", []string{"GET", "POST", "PUT", "DELETE"}},
	{"export", "/api/export/{$}", []string{"GET", "POST", "PUT", "DELETE"}},
	{"reports", "/users/{id}/reports", []string{"GET"}},
	{"reports", "/users/{id}/reports/{$}", []string{"GET"}},
	{"all", "/api", []string{"POST"}},
	{"all", "/api/{rest...}", []string{"POST"}},
}

func main() {
	mux := http.NewServeMux()
	for _, route := range routes {
		for _, method := range route.methods {
			mux.HandleFunc(method+" "+route.path, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Handler", route.name) })
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("mux http://%s\n", l.Addr())
	log.Fatal((&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(l))
}
