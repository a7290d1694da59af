package ingest

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

var (
	ownHosts = []string{
		"localhost", "localhost:8080", "LocalHost:1", "localhost.", "localhost.:8080", "127.0.0.1", "127.0.0.1:8080", "127.0.0.1.", "127.255.255.254",
		"[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]:8080", "[::1%25lo]", "localhost:",
	}
	foreignHosts = []string{
		"rebind.test", "rebind.test:8080", "rebind.test.", "REBIND.TEST", "localhost.rebind.test", "rebind.test:80:127.0.0.1", "127.0.0.1.rebind.test",
		"127.0.0.1.nip.io:8080", "evil.localhost", "localhost..", "2130706433", "0x7f.1", "127.1", "0.0.0.0:8080", "[::]", "10.0.0.1", "[fe80::1%25eth0]",
		"localhost:8080:8080", "localhost:evil", "[::1", "user@localhost", "localhost@rebind.test", "localhost%2erebind.test", "localhost\u00e9",
	}
)

// TestHostWithoutKeys: an API without keys answers only to the names of its own
// machine, on every address but those that are signed by themselves.
func TestHostWithoutKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t, linkOptions)
	for _, host := range ownHosts {
		if a := b.rawRequest("GET /v1/gates HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"); a.status != 200 {
			t.Errorf("%q: %d %s", host, a.status, a.body)
		}
	}
	for _, host := range foreignHosts {
		a := b.rawRequest("GET /v1/gates HTTP/1.1\r\nHost: " + host + "\r\nX-Forwarded-Host: localhost\r\nForwarded: host=localhost\r\nConnection: close\r\n\r\n")
		if a.status != 421 && a.status != 400 { // net/http finds some malformed
			t.Errorf("%q: %d %s", host, a.status, a.body)
		}
	}
	for name, request := range map[string]string{
		"no Host":           "GET /v1/gates HTTP/1.0\r\n\r\n",
		"empty Host":        "GET /v1/gates HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
		"absolute target":   "GET http://rebind.test/v1/gates HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		"absolute, no Host": "GET http://rebind.test/v1/gates HTTP/1.0\r\n\r\n",
	} {
		if a := b.rawRequest(request); a.status != 421 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := b.rawRequest("GET http://localhost/v1/gates HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); a.status != 200 {
		t.Errorf("absolute target: %d %s", a.status, a.body)
	}
	for _, r := range append(b.srv.privateRoutes(), b.srv.publicRoutes()...) {
		method := r.method
		if method == "" {
			method = "GET"
		}
		a := b.rawRequest(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: rebind.test\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, r.example()))
		if refused := a.status == 421; refused == (r.kind == public) {
			t.Errorf("%s %s: %d", method, r.path, a.status)
		}
	}
	p := b.want(421, "GET", "/nothing", "", "Host: rebind.test").json(t)
	if detail := p["detail"].(string); !strings.Contains(detail, "rebind.test") || !strings.Contains(detail, "TIDEGATE_API_KEYS") {
		t.Error(detail)
	}
	b.want(421, "DELETE", "/v1/gates", "", "Host: rebind.test") // a wrong method is none of a stranger's business
}

// TestHostWithKeys: with keys any name will do, as behind a proxy.
func TestHostWithKeys(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys("all")
	ok(t, err)
	b := newBench(t, func(o *Options) { o.Keys = func() Keys { return keys } })
	b.key = "all"
	b.want(200, "GET", "/v1/gates", "", "Host: gate.acme.example")
	b.want(200, "GET", "/", "", "Host: gate.acme.example")
}

func TestOwnName(t *testing.T) {
	t.Parallel()
	lan := &net.TCPAddr{IP: net.ParseIP("192.168.1.7"), Port: 8080}
	if !ownName("192.168.1.7:8080", lan) || ownName("192.168.1.8:8080", lan) || ownName("192.168.1.7.nip.io", lan) || ownName("192.168.1.7", nil) {
		t.Error("of the address that the connection has, and of others")
	}
	six := &net.TCPAddr{IP: net.ParseIP("fe80::7"), Zone: "eth0", Port: 8080}
	if !ownName("[fe80::7%25eth0]:8080", six) || !ownName("[fe80::7]", six) || ownName("[fe80::8]", six) {
		t.Error("with a zone")
	}
}
