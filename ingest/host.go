package ingest

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// checkHost refuses a request to an API without keys that calls the machine by
// another name than its own. A page of another site can have its own name lead to
// 127.0.0.1 (DNS rebinding); to the browser the API is then that site, and no
// cross-origin rule applies. Such a name cannot be one of those that pass here.
func (s *Server) checkHost(r *http.Request, rt route) error {
	if rt.kind == public || !s.Keys().Empty() {
		return nil
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if ownName(r.Host, local) {
		return nil
	}
	return &problem{Status: http.StatusMisdirectedRequest, Detail: fmt.Sprintf("without API keys Tidegate answers only to localhost, loopback addresses and the address "+
		"that it listens on, not to %.80q: call it by one of them, or set TIDEGATE_API_KEYS", r.Host)}
}

// ownName reports whether a Host header, with any port, names localhost, a loopback
// address or the connection's own address.
func ownName(host string, local net.Addr) bool {
	name := strings.ToLower((&url.URL{Host: host}).Hostname())
	name = strings.TrimSuffix(name, ".")
	if name == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	tcp, ok := local.(*net.TCPAddr)
	return ip.IsLoopback() || ok && ip == tcp.AddrPort().Addr().Unmap().WithZone("")
}
