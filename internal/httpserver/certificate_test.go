package httpserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/test/testcert"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// secure serves h over TLS with files in a folder, which are read every interval.
func secure(t *testing.T, ca *testcert.CA, h http.HandlerFunc, change ...func(*Options)) (addr string, c *Certificate) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	ca.Write(t, certFile, keyFile, time.Hour)
	c, err := LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return start(t, h, append(change, func(o *Options) { o.Certificate = c })...), c
}

func clientOf(t *testing.T, ca *testcert.CA, h2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool}, ForceAttemptHTTP2: h2}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t)
	addr, _ := secure(t, ca, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	for _, h2 := range []bool{false, true} {
		res, err := clientOf(t, ca, h2).Get("https://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		proto, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[h2]; string(proto) != want {
			t.Errorf("%s, want %s", proto, want)
		}
	}
	if c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.Pool, MaxVersion: tls.VersionTLS11}); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 is spoken")
	}
}

// TestTimeoutsOverTLS: a handshake that is not finished ends, and over HTTP/2 a slow
// body and a reader who takes nothing end their request.
func TestTimeoutsOverTLS(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t)
	failed := make(chan error, 1)
	addr, _ := secure(t, ca, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		for err == nil {
			_, err = w.Write(make([]byte, 1<<20))
		}
		failed <- err
	}, withTimeouts)
	if got := ends(t, dial(t, addr)); got != "" {
		t.Errorf("without a handshake: %q", got)
	}
	c := clientOf(t, ca, true)
	body, w := io.Pipe()
	defer w.Close()
	go func() { _, _ = io.WriteString(w, "half") }()
	for name, r := range map[string]io.Reader{"slow body": body, "slow reader": nil} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr, r)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err == nil {
			defer res.Body.Close()
		}
		select {
		case err := <-failed:
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		case <-time.After(patience):
			t.Errorf("%s: the handler goes on", name)
		}
	}
}

// follow reads the files of a certificate every few milliseconds.
func follow(t *testing.T, c *Certificate) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { c.Follow(ctx, 5*time.Millisecond); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

// served waits until connections get the certificate.
func served(t *testing.T, ca *testcert.CA, addr string, want *x509.Certificate) {
	t.Helper()
	wait.Until(t, "the certificate", func() error {
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.Pool})
		if err != nil {
			return err
		}
		defer c.Close()
		if got := c.ConnectionState().PeerCertificates[0]; !got.Equal(want) {
			return fmt.Errorf("served is %s", got.SerialNumber)
		}
		return nil
	})
}

// TestCertificateIsFollowed as Kubernetes replaces it: by a link to another folder.
func TestCertificateIsFollowed(t *testing.T) {
	t.Parallel()
	ca, dir := testcert.New(t), t.TempDir()
	version := func(name string) *x509.Certificate {
		sub := filepath.Join(dir, name)
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		cert := ca.Write(t, filepath.Join(sub, "tls.crt"), filepath.Join(sub, "tls.key"), time.Hour)
		link := filepath.Join(dir, "data-"+name)
		if err := os.Symlink(sub, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
		return cert
	}
	first := version("one")
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := LoadCertificate(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	addr := start(t, func(http.ResponseWriter, *http.Request) {}, func(o *Options) { o.Certificate = c })
	follow(t, c)
	served(t, ca, addr, first)
	served(t, ca, addr, version("two"))
}

// TestBrokenCertificateIsIgnored: it is told once, and the former one stays until a
// good one comes.
func TestBrokenCertificateIsIgnored(t *testing.T) {
	t.Parallel()
	ca, dir := testcert.New(t), t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	first := ca.Write(t, certFile, keyFile, time.Hour)
	var log testprocess.Output
	c, err := LoadCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	addr := start(t, func(http.ResponseWriter, *http.Request) {}, func(o *Options) { o.Certificate = c })
	follow(t, c)
	ca.Write(t, certFile, filepath.Join(dir, "other.key"), time.Hour) // with the key of before
	wait.Until(t, "the report", func() error {
		if !strings.Contains(log.String(), "certificate_ignored") {
			return fmt.Errorf("the log has %q", log.String())
		}
		return nil
	})
	served(t, ca, addr, first)
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the second report", func() error {
		if n := strings.Count(log.String(), "certificate_ignored"); n != 2 {
			return fmt.Errorf("%d reports: %s", n, log.String())
		}
		return nil
	})
	served(t, ca, addr, first)
	served(t, ca, addr, ca.Write(t, certFile, keyFile, time.Hour))
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error("the log shows the key")
	}
}

func TestCertificateThatCannotBeLoaded(t *testing.T) {
	t.Parallel()
	ca, dir := testcert.New(t), t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	ca.Write(t, certFile, keyFile, time.Hour)
	for want, files := range map[string][2]string{
		"--tls-cert": {filepath.Join(dir, "none"), keyFile}, "--tls-key": {certFile, filepath.Join(dir, "none")}, "belong together": {certFile, certFile},
	} {
		if _, err := LoadCertificate(files[0], files[1], slog.Default()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
