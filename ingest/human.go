package ingest

import (
	"net/http"
	"regexp"
	"strings"
)

// scanners matches the user agents of programs that open the links in mails and
// messages: scanners of mail gateways, previews, search engines. Nothing here can
// recognise those that pose as a browser.
var scanners = regexp.MustCompile(`bot\b|crawler|spider|slurp|preview|facebookexternalhit|whatsapp|imageproxy|mailproxy|` +
	`google-safety|google-read-aloud|feedfetcher|barracuda|proofpoint|mimecast|ironport|trendmicro|forcepoint|fireeye|sophos|safelinks|` +
	`office existence discovery|ms-office|virustotal|urlscan|zgrab|linkcheck`)

// human reports whether a request is a person's visit, and not a preview or a
// prefetch of a mail program or its scanner.
func human(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	for _, name := range [...]string{"Purpose", "Sec-Purpose", "X-Purpose", "X-Moz"} {
		v := strings.ToLower(r.Header.Get(name))
		if strings.Contains(v, "prefetch") || strings.Contains(v, "preview") || strings.Contains(v, "prerender") {
			return false
		}
	}
	agent := strings.ToLower(r.UserAgent())
	return !scanners.MatchString(strings.ReplaceAll(agent, "cubot", "")) // which makes telephones
}
