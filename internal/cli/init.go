package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/propose"
)

type initCmd struct {
	OpenAPI string `name:"openapi" placeholder:"URL-OR-FILE" help:"Propose gates for the POST, PUT and PATCH routes of an app, such as http://127.0.0.1:8000/openapi.json." xor:"source"`
	From    string `placeholder:"FILE" help:"Read the growth loop of a skene.config.ts." xor:"source"`
	Force   bool   `help:"Overwrite a file that is there."`
}

func (c *initCmd) Run(e *env) error {
	text, notes := config.ExampleYAML, []string{}
	if c.OpenAPI != "" || c.From != "" {
		p, err := c.propose(e.ctx)
		if err == nil {
			text, err = p.YAML()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.OpenAPI+c.From, err)
		}
		notes = append(notes, p.Notes...)
	}
	if err := c.write(e.Config, text); err != nil {
		return err
	}
	return e.printAny(map[string]any{"file": e.Config, "notes": notes}, func(w *tabwriter.Writer) error {
		for _, n := range notes {
			row(w, n)
		}
		row(w, fmt.Sprintf("wrote %s: edit it, check it with `tidegate config check`, try it with `tidegate dev`", e.Config))
		return nil
	})
}

func (c *initCmd) propose(ctx context.Context) (*propose.Proposal, error) {
	if c.From != "" {
		b, err := os.ReadFile(c.From)
		if err != nil {
			return nil, err
		}
		return propose.Loop(b)
	}
	b, err := readDocument(ctx, c.OpenAPI)
	if err != nil {
		return nil, err
	}
	return propose.OpenAPI(b)
}

func (c *initCmd) write(path, text string) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if c.Force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if os.IsExist(err) {
		return fmt.Errorf("%s is there already: remove it, name another with --config, or use --force", path)
	}
	if err != nil {
		return err
	}
	if _, err = f.WriteString(text); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// maxDocument bounds what is read of an app's description.
const maxDocument = 32 << 20

// readDocument reads a file, or fetches an address: of an app's root, what
// FastAPI serves below it.
func readDocument(ctx context.Context, from string) ([]byte, error) {
	u, err := url.Parse(from)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return os.ReadFile(from)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/openapi.json"
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("is the app running? %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s: name the address of its OpenAPI document", response.Status)
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err == nil && len(b) > maxDocument {
		err = fmt.Errorf("the document is larger than %d MiB", maxDocument>>20)
	}
	return b, err
}
