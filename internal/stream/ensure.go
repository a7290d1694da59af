package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// The keys in the metadata of a stream that hold the number of partitions. A process of
// the first versions starts on a USAGE with formerKey only, as it would pass over what
// apps publish in the present layout.
const (
	partitionsKey = "tidegate-layout-2-partitions"
	formerKey     = "tidegate-partitions"
)

// madeFor returns the number of partitions that a stream was made for; 0: it is not
// Tidegate's.
func madeFor(c *jetstream.StreamConfig) int {
	made, _ := strconv.Atoi(cmp.Or(c.Metadata[partitionsKey], c.Metadata[formerKey]))
	return made
}

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
// partitions. Of streams that exist it changes the subjects, if a former version made
// them, and what Layout says: their operator may have changed the rest.
func Ensure(ctx context.Context, js jetstream.JetStream, l Layout) (partitions int, err error) {
	usage := l.Names.Stream(events.StreamUsage)
	s, err := js.Stream(ctx, usage)
	switch {
	case err == nil:
		made := madeFor(&s.CachedInfo().Config)
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
	owned := sync.OnceValues(func() (bool, error) { return anyOwner(ctx, js, l.Names) }) // which takes seconds
	for _, cfg := range l.streams() {
		if err := ensureStream(ctx, js, cfg, l, owned); err != nil {
			return 0, err
		}
	}
	for _, cfg := range l.buckets() {
		_, err := js.KeyValue(ctx, cfg.Bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			_, err = js.CreateKeyValue(ctx, cfg)
			if errors.Is(err, jetstream.ErrBucketExists) { // another process was faster
				err = nil
			}
		} else if err == nil {
			err = republish(ctx, js, cfg)
		}
		if err != nil {
			return 0, fmt.Errorf("bucket %s: %w", cfg.Bucket, err)
		}
	}
	return l.Partitions, nil
}

// errNoSpace is the code of a server that has not the space that a stream may take.
const errNoSpace jetstream.ErrorCode = 10047

func ensureStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig, l Layout, owned func() (bool, error)) error {
	s, err := js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, cfg)
		for refused := new(jetstream.APIError); cfg.Discard == jetstream.DiscardOld && cfg.MaxBytes > 1 && errors.As(err, &refused) && refused.ErrorCode == errNoSpace; {
			cfg.MaxBytes /= 2
			s, err = js.CreateStream(ctx, cfg)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster
			s, err = js.Stream(ctx, cfg.Name)
		}
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", cfg.Name, err)
	}
	now := s.CachedInfo().Config
	if madeFor(&now) != madeFor(&cfg) {
		return fmt.Errorf("%w: stream %s was made for %d, others for %d", ErrPartitions, cfg.Name, madeFor(&now), madeFor(&cfg))
	}
	if isFormer(&now, &cfg) {
		return moveSubjects(ctx, js, now, cfg, owned)
	}
	return settle(ctx, js, now, cfg, l)
}

// errFormer is returned while processes run that read subjects of a former layout.
var errFormer = errors.New("processes of a former version still run, and would pass over what is stored by the present one: stop them")

// moveSubjects gives a stream that a former version made the present subjects. What is
// stored in it stays as it is.
func moveSubjects(ctx context.Context, js jetstream.JetStream, now, cfg jetstream.StreamConfig, owned func() (bool, error)) error {
	running, err := owned()
	if err != nil {
		return err
	}
	if running {
		s, err := js.Stream(ctx, cfg.Name)
		if err != nil {
			return err
		}
		if isFormer(&s.CachedInfo().Config, &cfg) {
			return errFormer
		}
		return nil // the owners are of this version, and one of them has just moved the subjects
	}
	now.Subjects, now.SubjectTransform = cfg.Subjects, cfg.SubjectTransform
	now.Duplicates = max(now.Duplicates, cfg.Duplicates)
	now.Metadata = maps.Clone(now.Metadata)
	delete(now.Metadata, formerKey)
	now.Metadata[partitionsKey] = cfg.Metadata[partitionsKey]
	if _, err := js.UpdateStream(ctx, now); err != nil {
		return fmt.Errorf("stream %s: giving it the present subjects: %w", cfg.Name, err)
	}
	return nil
}

// isFormer reports whether a former version made a stream, and with other subjects. In
// one of the present layout the subjects are the operator's.
func isFormer(now, cfg *jetstream.StreamConfig) bool {
	return now.Metadata[partitionsKey] == "" &&
		!(slices.Equal(now.Subjects, cfg.Subjects) && sameTransform(now.SubjectTransform, cfg.SubjectTransform))
}

func sameTransform(a, b *jetstream.SubjectTransformConfig) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// anyOwner reports whether a process owns a partition or is ready to. Such a process
// renews its keys; one that nobody renews is a dead process's, and a server that was
// killed may have forgotten that it is to expire.
func anyOwner(ctx context.Context, js jetstream.JetStream, n events.Names) (bool, error) {
	kv, err := js.KeyValue(ctx, n.Bucket(events.BucketOwners))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := kv.Keys(ctx); errors.Is(err, jetstream.ErrNoKeysFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	w, err := kv.WatchAll(ctx, jetstream.UpdatesOnly())
	if err != nil {
		return false, err
	}
	defer func() { _ = w.Stop() }()
	enough := time.After(2 * DefaultLeaseTTL)
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return false, errors.New("the watch of the owners has ended")
			}
			if e != nil && e.Operation() == jetstream.KeyValuePut {
				return true, nil
			}
		case <-enough:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// republish lets a bucket that a former version made publish again what is stored.
func republish(ctx context.Context, js jetstream.JetStream, cfg jetstream.KeyValueConfig) error {
	s, err := js.Stream(ctx, "KV_"+cfg.Bucket)
	if err != nil || cfg.RePublish == nil || s.CachedInfo().Config.RePublish != nil {
		return err
	}
	now := s.CachedInfo().Config
	now.RePublish = cfg.RePublish
	_, err = js.UpdateStream(ctx, now)
	return err
}

// Partitions returns the number of partitions that the streams were made for.
func Partitions(ctx context.Context, js jetstream.JetStream, n events.Names) (int, error) {
	name := n.Stream(events.StreamUsage)
	s, err := js.Stream(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w: has Tidegate been started on this NATS, and is `namespace` right?", name, err)
	}
	made := madeFor(&s.CachedInfo().Config)
	if made == 0 {
		return 0, fmt.Errorf("stream %s is not Tidegate's: set `namespace` in the configuration", name)
	}
	return made, nil
}
