package cli

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/test/testcert"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestTLSOfDev: dev speaks HTTPS on both addresses, and the commands trust the CA that
// TIDEGATE_CA names.
func TestTLSOfDev(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	ca := testcert.New(t)
	ca.Write(t, "tls.crt", "tls.key", 3*24*time.Hour)
	t.Setenv("TIDEGATE_TLS_CERT", "tls.crt")
	t.Setenv("TIDEGATE_TLS_KEY", "tls.key")
	state, said := runDev(t, "--public", "127.0.0.1:0", "--nats", "127.0.0.1:-1")
	if !strings.HasPrefix(state.HTTP, "https://") {
		t.Fatalf("dev is at %s", state.HTTP)
	}
	t.Setenv("TIDEGATE_URL", state.HTTP)
	if code, _, stderr := command(t, "", "check", "acme", "api"); code != exitFailed || !strings.Contains(stderr, "TIDEGATE_CA") {
		t.Errorf("without its CA: exit %d: %s", code, stderr)
	}
	t.Setenv("TIDEGATE_CA", ca.File)
	wait.Until(t, "an answer", func() error {
		a, err := connectAPI()
		if err != nil {
			return err
		}
		return a.get(t.Context(), "/v1/gates", nil, new(any))
	})
	for _, line := range []string{"check acme api", "send --type api --customer acme --id 1", "dev upgrade acme"} {
		if code, stdout, stderr := command(t, "", strings.Fields(line)...); code != exitOK {
			t.Errorf("%s: exit %d: %s%s", line, code, stdout, stderr)
		}
	}
	certificate := func() (string, string) { return (&doctorCmd{}).certificate(nil, t.Context()) }
	if state, detail := certificate(); state != stateWarning || !strings.Contains(detail, "in 2 days") {
		t.Errorf("the file: %s %s", state, detail)
	}
	t.Setenv("TIDEGATE_TLS_CERT", "")
	if state, detail := certificate(); state != stateWarning || !strings.Contains(detail, "https://") {
		t.Errorf("what is served: %s %s", state, detail)
	}
	if !strings.Contains(said(), "Public             https://") {
		t.Errorf("dev says %s", said())
	}
}

func TestDoctorJudgesTheCertificate(t *testing.T) {
	ca, dir := testcert.New(t), t.TempDir()
	file, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	t.Setenv("TIDEGATE_TLS_CERT", file)
	t.Setenv("TIDEGATE_TLS_KEY", key)
	for state, life := range map[string]time.Duration{stateOK: 15 * 24 * time.Hour, stateWarning: 13 * 24 * time.Hour, stateFailed: -time.Minute} {
		ca.Write(t, file, key, life)
		if got, detail := (&doctorCmd{}).certificate(nil, t.Context()); got != state {
			t.Errorf("one that ends in %s: %s %s", life, got, detail)
		}
	}
	t.Setenv("TIDEGATE_TLS_KEY", file)
	if got, detail := (&doctorCmd{}).certificate(nil, t.Context()); got != stateFailed || !strings.Contains(detail, "TIDEGATE_TLS_KEY") {
		t.Errorf("one without its key: %s %s", got, detail)
	}
	t.Setenv("TIDEGATE_TLS_CERT", "")
	if got, _ := (&doctorCmd{}).certificate(nil, t.Context()); got != stateSkipped {
		t.Errorf("none: %s", got)
	}
}
