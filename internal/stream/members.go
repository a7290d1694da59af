package stream

import (
	"cmp"
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// memberPrefix begins the keys in the bucket of owners by which processes say
// that they are there: member.<role>.<token of the holder>. Like leases, they
// expire with their process.
const memberPrefix = "member."

const (
	// memberRefresh is how often a process reads all members anew, because a
	// watch can stay silent for a while after its server restarted.
	memberRefresh = 5 * time.Second
	// handoverDelay is how long a partition must be assigned to another process
	// before it is handed over, so that a short absence moves nothing twice.
	handoverDelay = 500 * time.Millisecond
)

// Assign spreads partitions over members by rendezvous hashing, so that few
// partitions move when a member comes or goes, and evenly: the shares of two
// members differ by at most one. The result holds the member of each partition.
// It depends only on the set of members, and is empty strings without members.
func Assign(role string, partitions int, members []string) []string {
	owners := make([]string, partitions)
	if len(members) == 0 {
		return owners
	}
	members = slices.Sorted(slices.Values(members))
	share, extra := partitions/len(members), partitions%len(members)
	load := map[string]int{}
	for p := range owners {
		ranked := slices.Clone(members)
		weight := map[string]uint64{}
		for _, m := range ranked {
			h := fnv.New64a()
			_, _ = h.Write([]byte(m + "\x00" + role + "\x00" + strconv.Itoa(p)))
			weight[m] = mix(h.Sum64())
		}
		slices.SortFunc(ranked, func(a, b string) int { return cmp.Compare(weight[b], weight[a]) })
		for _, m := range ranked {
			if load[m] > share || load[m] == share && extra == 0 {
				continue
			}
			if load[m] == share {
				extra--
			}
			owners[p], load[m] = m, load[m]+1
			break
		}
	}
	return owners
}

// mix makes the upper bits differ, which FNV leaves alike for similar texts.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// members holds which processes are there for each role, as far as this process
// knows. It is safe for concurrent use.
type members struct {
	mu      sync.Mutex
	known   bool // all members have been read once
	roles   map[string]map[string]bool
	changed chan struct{} // closed and replaced at every change

	// Only follow uses these:
	observed map[string]observation // by key
	heard    time.Time              // when the last renewal of any key came
}

func newMembers() *members {
	return &members{roles: map[string]map[string]bool{}, changed: make(chan struct{}), observed: map[string]observation{}}
}

// of returns the members of a role, and a channel that is closed when they
// change. There are none until all members have been read once.
func (m *members) of(role string) ([]string, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.roles[role])), m.changed
}

// set adds or removes the member of one key.
func (m *members) set(key string, present bool) {
	role, holder, ok := strings.Cut(strings.TrimPrefix(key, memberPrefix), ".")
	if !ok {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.roles[role][holder] == present {
		return
	}
	if m.roles[role] == nil {
		m.roles[role] = map[string]bool{}
	}
	if present {
		m.roles[role][holder] = true
	} else {
		delete(m.roles[role], holder)
	}
	m.announce()
}

// replace makes the members of keys all there are.
func (m *members) replace(keys map[string]bool) {
	roles := map[string]map[string]bool{}
	for key := range keys {
		if role, holder, ok := strings.Cut(strings.TrimPrefix(key, memberPrefix), "."); ok {
			if roles[role] == nil {
				roles[role] = map[string]bool{}
			}
			roles[role][holder] = true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	same := m.known && maps.EqualFunc(m.roles, roles, maps.Equal)
	m.known, m.roles = true, roles
	if !same {
		m.announce()
	}
}

func (m *members) announce() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// follow keeps the members current until ctx is done. While the servers are away
// they stay as they were.
func (m *members) follow(ctx context.Context, env Env) {
	for ctx.Err() == nil {
		if err := m.read(ctx, env); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(handoverDelay):
			}
		}
	}
}

// read reads all members, and then their changes until memberRefresh has passed.
func (m *members) read(ctx context.Context, env Env) error {
	ctx, cancel := context.WithTimeout(ctx, memberRefresh)
	defer cancel()
	kv, err := env.JS.KeyValue(ctx, env.Names.Bucket(events.BucketOwners))
	if err != nil {
		return err
	}
	w, err := kv.Watch(ctx, memberPrefix+">")
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	check := time.NewTicker(env.LeaseTTL / 2)
	defer check.Stop()
	first := map[string]bool{} // members, until all have been read
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-check.C:
			m.removeDead(ctx, kv, env.LeaseTTL)
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return nil
			case e == nil: // that were all
				m.replace(first)
				first = nil
			default:
				present := m.observe(e, env.LeaseTTL)
				if first == nil {
					m.set(e.Key(), present)
				} else if present {
					first[e.Key()] = true
				}
			}
		}
	}
}

// observe notes a change of a key and reports whether its process is there.
func (m *members) observe(e jetstream.KeyValueEntry, ttl time.Duration) bool {
	if e.Operation() != jetstream.KeyValuePut {
		delete(m.observed, e.Key())
		return false
	}
	m.heard = time.Now()
	if o, known := m.observed[e.Key()]; known && o.rev == e.Revision() {
		return !o.dead(m.heard, ttl)
	}
	m.observed[e.Key()] = observation{e.Revision(), m.heard}
	return true
}

// removeDead removes the members that have not renewed their keys, which a
// server may forget to expire when it is killed. While no key at all is renewed
// the server is away, and nobody counts as dead.
func (m *members) removeDead(ctx context.Context, kv jetstream.KeyValue, ttl time.Duration) {
	now := time.Now()
	if now.Sub(m.heard) > ttl {
		return
	}
	for key, o := range m.observed {
		if o.dead(now, ttl) {
			m.set(key, false)
			_ = kv.Delete(ctx, key, jetstream.LastRevision(o.rev)) // fails for a key that was renewed meanwhile
		}
	}
}
