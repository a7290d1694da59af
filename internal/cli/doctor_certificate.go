package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// endsSoon is how long before the end of a certificate doctor warns.
const endsSoon = 14 * 24 * time.Hour

// certificate looks at the certificate in TIDEGATE_TLS_CERT, else at the one that
// TIDEGATE_URL shows.
func (c *doctorCmd) certificate(_ *env, ctx context.Context) (string, string) {
	leaf, from, err := certificateInUse(ctx)
	switch {
	case err != nil:
		return stateFailed, err.Error()
	case leaf == nil:
		return stateSkipped, "TIDEGATE_TLS_CERT is not set, and TIDEGATE_URL is not https"
	}
	ends, left := leaf.NotAfter.UTC().Format(time.RFC3339), time.Until(leaf.NotAfter)
	switch {
	case left <= 0:
		return stateFailed, fmt.Sprintf("the certificate of %s ended at %s: put a new one there, it is read without a restart", from, ends)
	case left < endsSoon:
		return stateWarning, fmt.Sprintf("the certificate of %s ends at %s, in %d days: put a new one there, it is read without a restart", from, ends, int(left.Hours()/24))
	}
	return stateOK, fmt.Sprintf("the certificate of %s ends at %s", from, ends)
}

func certificateInUse(ctx context.Context) (leaf *x509.Certificate, from string, err error) {
	if file := os.Getenv("TIDEGATE_TLS_CERT"); file != "" {
		pair, err := tls.LoadX509KeyPair(file, os.Getenv("TIDEGATE_TLS_KEY"))
		if err != nil {
			return nil, "", fmt.Errorf("TIDEGATE_TLS_CERT, TIDEGATE_TLS_KEY: %w", err)
		}
		return pair.Leaf, file, nil
	}
	a, err := connectAPI()
	if err != nil || !strings.HasPrefix(a.base, "https://") {
		return nil, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+"/livez", nil)
	if err != nil {
		return nil, "", err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	_ = resp.Body.Close()
	return resp.TLS.PeerCertificates[0], a.base, nil
}
