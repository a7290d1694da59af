package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

const day = 24 * time.Hour

// partitionsKey is the key in the metadata of a stream that holds the number of
// partitions.
const partitionsKey = "tidegate-partitions"

// Layout describes the streams and buckets.
type Layout struct {
	Names      events.Names
	Partitions int           // 0: the number in the streams, or DefaultPartitions for new ones
	Replicas   int           // of every stream; 0: 1
	UsageAge   time.Duration // how long USAGE keeps messages; 0: 70 days
	Horizon    time.Duration // how long fingerprints are kept, at least; 0: 32 days
	UsageBytes int64         // size at which USAGE refuses messages; 0: unlimited
}

// DefaultPartitions is the number of partitions of new streams, unless the
// configuration sets one.
const DefaultPartitions = 32

// ErrPartitions is returned when the configuration sets another number of
// partitions than the streams were made for.
var ErrPartitions = errors.New("partitions cannot be changed")

// JetStream returns a JetStream context with the limits that the roles need.
func JetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	return jetstream.New(nc,
		jetstream.WithPublishAsyncMaxPending(8192),
		// Without it, the library would wait for ever for a lost acknowledgement.
		jetstream.WithPublishAsyncTimeout(5*time.Second))
}

// Ensure makes the streams and buckets that are missing and returns the number of
// partitions. Of streams that exist it changes the subjects only, and those only if a
// former version made them: their operator may have changed the rest.
func Ensure(ctx context.Context, js jetstream.JetStream, l Layout) (partitions int, err error) {
	usage := l.Names.Stream(events.StreamUsage)
	s, err := js.Stream(ctx, usage)
	switch {
	case err == nil:
		made, _ := strconv.Atoi(s.CachedInfo().Config.Metadata[partitionsKey])
		if made == 0 {
			return 0, fmt.Errorf("stream %s exists but is not Tidegate's: set `namespace` in the configuration", usage)
		}
		if l.Partitions != 0 && l.Partitions != made {
			return 0, fmt.Errorf("%w: stream %s was made for %d, the configuration says %d: set `partitions: %d`",
				ErrPartitions, usage, made, l.Partitions, made)
		}
		l.Partitions = made
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return 0, err
	case l.Partitions == 0:
		l.Partitions = DefaultPartitions
	}
	for _, cfg := range l.streams() {
		if err := ensureStream(ctx, js, cfg, l.Names); err != nil {
			return 0, err
		}
	}
	for _, cfg := range l.buckets() {
		if _, err := js.KeyValue(ctx, cfg.Bucket); errors.Is(err, jetstream.ErrBucketNotFound) {
			_, err = js.CreateKeyValue(ctx, cfg)
			if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
				return 0, fmt.Errorf("bucket %s: %w", cfg.Bucket, err)
			}
		} else if err != nil {
			return 0, fmt.Errorf("bucket %s: %w", cfg.Bucket, err)
		}
	}
	return l.Partitions, nil
}

func ensureStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig, n events.Names) error {
	s, err := js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, cfg)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster
			s, err = js.Stream(ctx, cfg.Name)
		}
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", cfg.Name, err)
	}
	now := s.CachedInfo().Config
	if now.Metadata[partitionsKey] != cfg.Metadata[partitionsKey] {
		return fmt.Errorf("%w: stream %s was made for %q, others for %q", ErrPartitions, cfg.Name,
			now.Metadata[partitionsKey], cfg.Metadata[partitionsKey])
	}
	return moveSubjects(ctx, js, now, cfg, n)
}

// errFormer is returned while processes run that read subjects of a former layout.
var errFormer = errors.New("processes of a former version still run, and would pass over what is stored by the present one: stop them")

// moveSubjects gives a stream that a former version made the present subjects. What is
// stored in it stays as it is.
func moveSubjects(ctx context.Context, js jetstream.JetStream, now, cfg jetstream.StreamConfig, n events.Names) error {
	if slices.Equal(now.Subjects, cfg.Subjects) && sameTransform(now.SubjectTransform, cfg.SubjectTransform) {
		return nil
	}
	if owned, err := anyOwner(ctx, js, n); err != nil || owned {
		return cmp.Or(err, errFormer)
	}
	now.Subjects, now.SubjectTransform = cfg.Subjects, cfg.SubjectTransform
	if _, err := js.UpdateStream(ctx, now); err != nil {
		return fmt.Errorf("stream %s: giving it the present subjects: %w", cfg.Name, err)
	}
	return nil
}

func sameTransform(a, b *jetstream.SubjectTransformConfig) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// anyOwner reports whether a process holds the lease of a partition.
func anyOwner(ctx context.Context, js jetstream.JetStream, n events.Names) (bool, error) {
	kv, err := js.KeyValue(ctx, n.Bucket(events.BucketOwners))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	keys, err := kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return false, nil
	}
	return len(keys) > 0, err
}

func (l Layout) streams() []jetstream.StreamConfig {
	age, horizon := l.UsageAge, l.Horizon
	if age == 0 {
		age = 70 * day
	}
	if horizon == 0 {
		horizon = 32 * day
	}
	n := l.Names
	list := []jetstream.StreamConfig{
		{
			Name: events.StreamUsage, MaxAge: age, MaxBytes: l.UsageBytes, Duplicates: 30 * time.Second,
			Subjects: []string{"usage.in.*", "usage.p.*." + events.BatchToken, "usage.p.*." + events.ImportToken, "usage.p.*." + events.ControlToken},
			// The partition is the one that a client computes itself: events.PartitionOf.
			SubjectTransform: &jetstream.SubjectTransformConfig{
				Source:      n.Subject("usage.in.*"),
				Destination: n.Subject(fmt.Sprintf("usage.p.{{partition(%d,1)}}.in.{{wildcard(1)}}", l.Partitions)),
			},
		},
		{Name: events.StreamState, Subjects: []string{"state.>"}},
		{Name: events.StreamSeen, Subjects: []string{"seen.*"}, MaxAge: horizon + 8*day},
		{Name: events.StreamWindows, Subjects: []string{"windows.*"}, MaxAge: 3 * day},
		// Stripe repeats a webhook for up to three days, and Tidegate publishes again
		// every event that Stripe lists, to find lost ones.
		{Name: events.StreamBilling, Subjects: []string{"billing.>"}, MaxAge: 400 * day, Duplicates: 4 * day},
		{
			Name: events.StreamAccount, MaxAge: 400 * day, Subjects: []string{"account.*", "account.in.*"},
			SubjectTransform: &jetstream.SubjectTransformConfig{
				Source:      n.Subject("account.in.*"),
				Destination: n.Subject(fmt.Sprintf("account.{{partition(%d,1)}}.in.{{wildcard(1)}}", l.Partitions)),
			},
		},
		{Name: events.StreamLimits, Subjects: []string{"limits.*"}, MaxAge: 70 * day},
		{Name: events.StreamDead, Subjects: []string{"dead.*"}, MaxAge: 70 * day},
	}
	if n.Namespace != "" { // wildcard(1) counts wildcards, so the prefix does not move it
		for i := range list {
			for j, s := range list[i].Subjects {
				list[i].Subjects[j] = n.Subject(s)
			}
		}
	}
	for i := range list {
		list[i].Name = n.Stream(list[i].Name)
		list[i].Retention = jetstream.LimitsPolicy
		list[i].Discard = jetstream.DiscardNew
		switch list[i].Name {
		// Fingerprints do not get smaller. Purging compressed records of STATE would
		// make the server unpack everything around them.
		case n.Stream(events.StreamSeen), n.Stream(events.StreamState):
		default:
			list[i].Compression = jetstream.S2Compression
		}
		list[i].Replicas = max(l.Replicas, 1)
		list[i].AllowDirect = true
		list[i].Metadata = map[string]string{partitionsKey: strconv.Itoa(l.Partitions)}
	}
	return list
}

func (l Layout) buckets() []jetstream.KeyValueConfig {
	return []jetstream.KeyValueConfig{
		{Bucket: l.Names.Bucket(events.BucketDecisions), Replicas: max(l.Replicas, 1)},
		{Bucket: l.Names.Bucket(events.BucketOwners), Replicas: max(l.Replicas, 1), LimitMarkerTTL: time.Minute},
	}
}

// Partitions returns the number of partitions that the streams were made for.
func Partitions(ctx context.Context, js jetstream.JetStream, n events.Names) (int, error) {
	name := n.Stream(events.StreamUsage)
	s, err := js.Stream(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w: has Tidegate been started on this NATS, and is `namespace` right?", name, err)
	}
	made, _ := strconv.Atoi(s.CachedInfo().Config.Metadata[partitionsKey])
	if made == 0 {
		return 0, fmt.Errorf("stream %s is not Tidegate's: set `namespace` in the configuration", name)
	}
	return made, nil
}
