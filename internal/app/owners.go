package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// Partition names a partition of a role. Some process must own it.
type Partition struct {
	Role   string
	Number int
}

// String returns it as leases are named, such as aggregator.3.
func (p Partition) String() string { return fmt.Sprintf("%s.%d", p.Role, p.Number) }

// ownedRole is a role with its number of partitions.
type ownedRole struct {
	name       string
	partitions int
}

// ownedRoles returns the roles whose partitions an installation owns.
func ownedRoles(partitions int) []ownedRole {
	return []ownedRole{{stream.RoleAggregator, partitions}, {stream.RoleEnforcer, partitions}, {stream.RoleBilling, 1}, {stream.RoleNotifier, 1}}
}

// everyPartition returns all partitions of an installation.
func everyPartition(partitions int) (all []Partition) {
	for _, role := range ownedRoles(partitions) {
		for p := range role.partitions {
			all = append(all, Partition{role.name, p})
		}
	}
	return all
}

// Unowned returns the partitions that nobody owns, and the owners of the others
// by name. A partition whose owner has just died counts as unowned for about two
// seconds.
func Unowned(ctx context.Context, js jetstream.JetStream, n events.Names, partitions int) (missing []Partition, owners map[string]string, err error) {
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

// NobodyOwns returns a sentence for people: which partitions nobody owns and which
// roles to start. Billing is a part of the role enforcer.
func NobodyOwns(missing []Partition) string {
	var names, roles []string
	for _, o := range missing {
		names = append(names, o.String())
		role := o.Role
		if role == stream.RoleBilling {
			role = RoleEnforcer
		}
		if !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	return fmt.Sprintf("nobody owns %s: start processes with --roles %s", strings.Join(names, ", "), strings.Join(roles, ","))
}

// owners is what /readyz says about partitions that no process owns. This process
// stays ready: to restart it, or to send it no requests, would help nobody.
func (a *App) owners(ctx context.Context) error {
	missing, _, err := Unowned(ctx, a.js, a.names, a.partitions)
	if err == nil && len(missing) > 0 {
		err = errors.New(NobodyOwns(missing))
	}
	if err != nil {
		return ingest.Degraded{Err: err}
	}
	return nil
}

// AskProgress asks the owners of all partitions how far they have come. It returns
// the names of the partitions whose owners do not answer.
func AskProgress(ctx context.Context, nc *nats.Conn, n events.Names, partitions int) (answers []stream.Progress, silent []string) {
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
				silent = append(silent, Partition{role.name, a.Partition}.String())
			} else {
				answers = append(answers, a.Answer)
			}
		}
	}
	return answers, silent
}
