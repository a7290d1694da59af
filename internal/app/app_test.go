package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
)

func TestMain(m *testing.M) { testprocess.Main(m) }

func ExampleDev() {
	ctx := context.Background()
	t, err := app.Dev(ctx, "") // the built-in example
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Stop(ctx)
	nc, _ := nats.Connect(t.NATS())
	defer nc.Close()
	c, _ := client.New(nc)
	defer func() { _ = c.Close(ctx) }()
	<-c.Synced()
	fmt.Println(c.Check("acme", "api").Allowed)
	// Output: true
}

// TestStop holds that Stop waits, may be repeated and leaves nothing behind.
func TestStop(t *testing.T) {
	t.Parallel()
	a, err := app.Dev(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	data := a.Settings().Data
	if _, err := os.Stat(data); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			a.Stop(context.Background())
			if _, err := os.Stat(data); !os.IsNotExist(err) {
				t.Errorf("Stop has not waited: the data is there, %v", err)
			}
		})
	}
	wg.Wait()
	if _, err := nats.Connect(a.NATS()); err == nil {
		t.Error("NATS still runs")
	}
	if resp, err := http.Get(a.URL() + "/livez"); err == nil {
		_ = resp.Body.Close()
		t.Error("HTTP still answers")
	}
}

// TestStartAgain finds what was there, and refuses a folder that is in use.
func TestStartAgain(t *testing.T) {
	t.Parallel()
	set := app.Settings{Data: t.TempDir()}
	var secret string
	for round := range 2 {
		a, err := app.Start(t.Context(), set, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := app.Start(t.Context(), set, nil, nil); err == nil || !strings.Contains(err.Error(), "another folder with --data") {
			t.Errorf("a second one on the same data: %v, %v", b, err)
		}
		if round == 0 {
			secret = string(a.Settings().Secret)
		} else if secret != string(a.Settings().Secret) {
			t.Error("the secret that signs links was made anew")
		}
		a.Stop(context.Background())
	}
}

// TestStartThatFails stops what was started.
func TestStartThatFails(t *testing.T) {
	t.Parallel()
	busy, err := app.Dev(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Stop(context.Background())
	dir := t.TempDir()
	if _, err := app.Start(t.Context(), app.Settings{Data: dir, HTTP: busy.Settings().HTTP}, nil, nil); err == nil || !strings.Contains(err.Error(), "--http HOST:PORT") {
		t.Errorf("a busy address: %v", err)
	}
	a, err := app.Start(t.Context(), app.Settings{Data: dir}, nil, nil)
	if err != nil {
		t.Fatalf("the folder is not free again: %v", err)
	}
	a.Stop(context.Background())
	if _, err := app.Dev(t.Context(), "plans: 7\n"); err == nil || !strings.Contains(err.Error(), "plans") {
		t.Errorf("a wrong configuration: %v", err)
	}
}

func TestMetricsSayWhichBuildItIs(t *testing.T) {
	t.Parallel()
	a, err := app.Start(t.Context(), app.Settings{Probes: "127.0.0.1:0"}, config.Example(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	line := regexp.MustCompile(`(?m)^tidegate_build_info\{version="[^"]+",commit="[^"]+",goversion="go[^"]+"\} 1$`)
	for _, url := range []string{a.URL(), "http://" + a.Settings().Probes} {
		resp, err := http.Get(url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !line.Match(body) {
			t.Errorf("%s: %v\n%s", url, err, body)
		}
	}
}
