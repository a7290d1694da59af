//go:build unix

package e2e

import (
	"fmt"
	"syscall"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

// TestMongoDBFreezes freezes the server under load: decisions continue, one entry for
// each window waits, the processes stop in time and others continue, and in the end
// documents and windows are equal.
func TestMongoDBFreezes(t *testing.T) {
	t.Parallel()
	server := testmongo.StartServer(t)
	in := newInstallation(t, server.URI)
	in.startNATS()
	p := in.serve(everyRole)
	in.ready()
	app := in.app(in.connect())
	const customers, rounds = 30, 5
	round := func(r, customers int) {
		var es []string
		for c := range customers {
			es = append(es, sample.Events(fmt.Sprint("org-", c), fmt.Sprint("r", r), 2)...)
		}
		in.post("application/x-ndjson", sample.Lines(es), len(es))
	}
	round(0, customers/2)
	in.waits(map[string]int{"usage": 0})
	server.Signal(t, syscall.SIGSTOP)
	for r := 1; r <= rounds; r++ { // the last round is the tenth use of all customers
		round(r, customers)
		in.uses("org-0", int64(2*(r+1)))
		in.waits(map[string]int{"usage": customers})
	}
	for c := range customers {
		sees(t, app, fmt.Sprint("org-", c), false)
	}
	in.lacks("store")
	if code := p.Interrupt(); code != exitOK {
		t.Errorf("exit %d with documents left", code)
	}
	in.serve(everyRole)
	in.ready()
	in.post("application/x-ndjson", sample.Lines(sample.Events("org-0", "late", 3)), 3)
	in.uses("org-0", 2*rounds+2+3)
	server.Signal(t, syscall.SIGCONT)
	for c := range customers {
		name := fmt.Sprint("org-", c)
		document(t, in.documents().Collection("usage"), name, func(d bson.M) error { return has(d, bson.M{"used": in.used(name)}) })
	}
	in.waits(map[string]int{"usage": 0})
	in.must("verify")
}
