package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// owned is a partition that some process must own.
type owned struct {
	role      string
	partition int
}

func (o owned) String() string { return fmt.Sprintf("%s.%d", o.role, o.partition) }

// ownedRole is a role with its number of partitions.
type ownedRole struct {
	name       string
	partitions int
}

// ownedRoles returns the roles whose partitions an installation owns.
func ownedRoles(partitions int) []ownedRole {
	return []ownedRole{{stream.RoleAggregator, partitions}, {stream.RoleEnforcer, partitions}, {stream.RoleBilling, 1}, {stream.RoleNotifier, 1}}
}

// everyPartition is what an installation consists of.
func everyPartition(partitions int) (all []owned) {
	for _, role := range ownedRoles(partitions) {
		for p := range role.partitions {
			all = append(all, owned{role.name, p})
		}
	}
	return all
}

// unowned are those without a lease. One is taken over two seconds after its
// owner's death, so for so long it may be among them.
func unowned(ctx context.Context, js jetstream.JetStream, n events.Names, partitions int) (missing []owned, owners map[string]string, err error) {
	owners, err = stream.Owners(ctx, js, n)
	if err != nil {
		return nil, nil, err
	}
	for _, o := range everyPartition(partitions) {
		if owners[o.String()] == "" {
			missing = append(missing, o)
		}
	}
	return missing, owners, nil
}

// nobodyOwns says it for people; billing is a part of the role enforcer.
func nobodyOwns(missing []owned) string {
	var names, roles []string
	for _, o := range missing {
		names = append(names, o.String())
		role := o.role
		if role == stream.RoleBilling {
			role = roleEnforcer
		}
		if !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	return fmt.Sprintf("nobody owns %s: start processes with --roles %s", strings.Join(names, ", "), strings.Join(roles, ","))
}

// owners is what /readyz says of partitions that no process owns. Nobody is
// the readier for being restarted or sent no requests, so it is told only.
func (a *app) owners(ctx context.Context) error {
	missing, _, err := unowned(ctx, a.js, a.names, a.partitions)
	if err == nil && len(missing) > 0 {
		err = errors.New(nobodyOwns(missing))
	}
	if err != nil {
		return ingest.Degraded{Err: err}
	}
	return nil
}

// documentsOf are a partition's documents that wait. The notifier stores a
// document before it goes on, so what waits is what it has not handled.
func documentsOf(p *stream.Progress) *stream.Documents {
	if p.Role == stream.RoleNotifier {
		return &stream.Documents{Collection: "notifications", Waiting: int(p.Pending), Oldest: p.Lag}
	}
	return p.Documents
}

// writeProgress writes what this process owns and how far it has come.
func (a *app) writeProgress(w io.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	metrics.WriteGaugeUint64(w, fmt.Sprintf("tidegate_process{holder=%q}", a.holder), 1)
	for _, p := range a.supervisor.Progress(ctx) {
		labels := fmt.Sprintf("{role=%q,partition=\"%d\"}", p.Role, p.Partition)
		metrics.WriteGaugeUint64(w, "tidegate_partition_epoch"+labels, p.Epoch)
		metrics.WriteGaugeUint64(w, "tidegate_partition_pending"+labels, p.Pending)
		metrics.WriteGaugeFloat64(w, "tidegate_partition_lag_seconds"+labels, p.Lag.Seconds())
		if d := documentsOf(&p); d != nil {
			labels := fmt.Sprintf("{collection=%q,partition=\"%d\"}", d.Collection, p.Partition)
			metrics.WriteGaugeUint64(w, "tidegate_documents_waiting"+labels, uint64(d.Waiting))
			metrics.WriteGaugeFloat64(w, "tidegate_documents_lag_seconds"+labels, d.Oldest.Seconds())
		}
	}
}

// askEveryone asks the owners of all partitions; those that do not answer are
// returned by name.
func askEveryone(ctx context.Context, nc *nats.Conn, n events.Names, partitions int) (answers []stream.Progress, silent []string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	asker, roles := stream.Asker{NC: nc, Names: n}, ownedRoles(partitions)
	got := make([][]stream.Answered[stream.Progress], len(roles))
	var wg sync.WaitGroup
	for i, role := range roles {
		wg.Go(func() { got[i] = stream.ProgressOf(role.name).AskAll(ctx, asker, role.partitions, stream.None{}) })
	}
	wg.Wait()
	for i, role := range roles {
		for _, a := range got[i] {
			if a.Err != nil {
				silent = append(silent, owned{role.name, a.Partition}.String())
			} else {
				answers = append(answers, a.Answer)
			}
		}
	}
	return answers, silent
}
