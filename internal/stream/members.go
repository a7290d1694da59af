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

// memberPrefix begins the keys in the owners bucket that say who is there:
// member.<role>.<holder's token>. Like leases, they expire with their process.
const memberPrefix = "member."

const (
	// memberRefresh is how often the view of the members is read anew: a watch
	// can stay blind for a while after its server was restarted.
	memberRefresh = 5 * time.Second
	// memberSettle is how long another must be the one to own a partition
	// before it is handed over, so that a short absence moves nothing twice.
	memberSettle = 500 * time.Millisecond
)

// Assign spreads partitions over members: by rendezvous hashing, so that few
// move when a member comes or goes, but evenly: no two members differ by more
// than one. Everybody who sees the same members comes to the same
// result. It is empty without members.
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

// mix spreads what FNV leaves alike in the upper bits of similar texts.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// members is who is there, as far as this process knows.
type members struct {
	mu      sync.Mutex
	known   bool // a whole view has been read
	roles   map[string]map[string]bool
	changed chan struct{} // closed and replaced at every change

	// Only follow uses these.
	signs map[string]sign // of life, by key
	heard time.Time       // when the last one came
}

// sign is the newest renewal of a presence key, and when it was seen first.
type sign struct {
	revision uint64
	at       time.Time
}

func newMembers() *members {
	return &members{roles: map[string]map[string]bool{}, changed: make(chan struct{}), signs: map[string]sign{}}
}

// of returns the members of a role, and a channel that is closed when they have
// changed. Before the first view there are none.
func (m *members) of(role string) ([]string, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.roles[role])), m.changed
}

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

// replace takes a whole view over.
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

// follow keeps the view current until ctx is done. While the servers are away
// the last one stays.
func (m *members) follow(ctx context.Context, env Env) {
	for ctx.Err() == nil {
		if err := m.read(ctx, env); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(memberSettle):
			}
		}
	}
}

// read takes a view and its changes for as long as memberRefresh.
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
	look := time.NewTicker(env.LeaseTTL / 2)
	defer look.Stop()
	first := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			m.bury(ctx, kv, env.LeaseTTL)
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return nil
			case e == nil:
				m.replace(first)
				first = nil
			default:
				present := m.note(e, env.LeaseTTL)
				if first == nil {
					m.set(e.Key(), present)
				} else if present {
					first[e.Key()] = true
				}
			}
		}
	}
}

// note takes a change of a key down, and says whether its process is there.
func (m *members) note(e jetstream.KeyValueEntry, ttl time.Duration) bool {
	if e.Operation() != jetstream.KeyValuePut {
		delete(m.signs, e.Key())
		return false
	}
	m.heard = time.Now()
	if s, known := m.signs[e.Key()]; known && s.revision == e.Revision() {
		return m.heard.Sub(s.at) <= 2*ttl
	}
	m.signs[e.Key()] = sign{e.Revision(), m.heard}
	return true
}

// bury removes keys that were not renewed for twice their time: a server may
// forget to expire them when it is killed. While nothing at all is heard it is
// the server that is away, and nobody is taken for dead.
func (m *members) bury(ctx context.Context, kv jetstream.KeyValue, ttl time.Duration) {
	now := time.Now()
	if now.Sub(m.heard) > ttl {
		return
	}
	for key, s := range m.signs {
		if now.Sub(s.at) > 2*ttl {
			m.set(key, false)
			_ = kv.Delete(ctx, key, jetstream.LastRevision(s.revision)) // one that was renewed stays
		}
	}
}
