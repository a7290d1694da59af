package stream

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// deadBytes is how much DEAD keeps unless the space for usage is set, or half of it, and
// so on, where the server has less.
const deadBytes = 1 << 30

const day = 24 * time.Hour

// Layout describes the streams and buckets.
type Layout struct {
	Names      events.Names
	Partitions int           // 0: the number in the streams, or DefaultPartitions for new ones
	Replicas   int           // of every stream; 0: 1
	UsageAge   time.Duration // how long USAGE keeps messages; 0: 70 days
	Horizon    time.Duration // how long fingerprints are kept, at least; 0: 32 days
	UsageBytes int64         // size at which USAGE refuses messages, and four times that of DEAD; 0: unlimited, and DEAD 1 GiB
	AuditAge   time.Duration // how long AUDIT keeps messages; 0: 400 days

	// ReadOnly leaves the settings of existing streams as they are: ingest, which strangers
	// reach, may not change streams.
	ReadOnly bool
	// Changed is called with each setting of an existing stream that was changed. It may be
	// nil.
	Changed func(Difference)
}

// DefaultPartitions is the number of partitions of new streams, unless the
// configuration sets one.
const DefaultPartitions = 32

func (l Layout) streams() []jetstream.StreamConfig {
	age, horizon, audit := cmp.Or(l.UsageAge, 70*day), cmp.Or(l.Horizon, 32*day), cmp.Or(l.AuditAge, 400*day)
	n := l.Names
	list := []jetstream.StreamConfig{
		{
			Name: events.StreamUsage, MaxAge: age, MaxBytes: l.UsageBytes, Duplicates: 30 * time.Second,
			Subjects: append([]string{"usage.in.*"}, l.each("usage.p.*."+events.BatchToken, "usage.p.*."+events.ImportToken, "usage.p.*."+events.ControlToken)...),
			// The partition is the one that a client computes itself: events.PartitionOf.
			SubjectTransform: &jetstream.SubjectTransformConfig{
				Source:      n.Subject("usage.in.*"),
				Destination: n.Subject(fmt.Sprintf("usage.p.{{partition(%d,1)}}.in.{{wildcard(1)}}", l.Partitions)),
			},
		},
		{Name: events.StreamState, Subjects: []string{"state.>"}},
		{Name: events.StreamSeen, Subjects: []string{"seen.*"}, MaxAge: horizon + 8*day},
		{Name: events.StreamWindows, Subjects: l.each("windows.*"), MaxAge: 3 * day},
		// Stripe repeats a webhook for up to three days, and Tidegate publishes again
		// every event that Stripe lists, to find lost ones.
		{Name: events.StreamBilling, Subjects: []string{"billing.>"}, MaxAge: 400 * day, Duplicates: 4 * day},
		{
			// An hour, in which the clicks of one link are one record.
			Name: events.StreamAccount, MaxAge: 400 * day, Duplicates: time.Hour, Subjects: append(l.each("account.*"), "account.in.*"),
			SubjectTransform: &jetstream.SubjectTransformConfig{
				Source:      n.Subject("account.in.*"),
				Destination: n.Subject(fmt.Sprintf("account.{{partition(%d,1)}}.in.{{wildcard(1)}}", l.Partitions)),
			},
		},
		{Name: events.StreamLimits, Subjects: l.each("limits.*"), MaxAge: 70 * day},
		{Name: events.StreamDead, Subjects: []string{"dead.*"}, MaxAge: 70 * day, MaxBytes: cmp.Or(l.UsageBytes/4, deadBytes)},
		{Name: events.StreamAudit, Subjects: []string{"audit.>"}, MaxAge: audit},
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
		case n.Stream(events.StreamDead): // a flood of bad messages must not cost the newest letters, or the space of others
			list[i].Discard = jetstream.DiscardOld
			list[i].Compression = jetstream.S2Compression
		// Fingerprints do not get smaller. Purging compressed records of STATE would
		// make the server unpack everything around them.
		case n.Stream(events.StreamSeen), n.Stream(events.StreamState):
		default:
			list[i].Compression = jetstream.S2Compression
		}
		list[i].Replicas = max(l.Replicas, 1)
		// A replica that lags behind would not have what an entry refers to.
		list[i].AllowDirect = list[i].Name != n.Stream(events.StreamAudit)
		list[i].Metadata = map[string]string{partitionsKey: strconv.Itoa(l.Partitions)}
	}
	return list
}

func (l Layout) buckets() []jetstream.KeyValueConfig {
	return []jetstream.KeyValueConfig{
		DecisionsBucket(l.Names, max(l.Replicas, 1)),
		{Bucket: l.Names.Bucket(events.BucketOwners), Replicas: max(l.Replicas, 1), LimitMarkerTTL: time.Minute},
	}
}

// DecisionsBucket returns the configuration of the bucket that apps read. What is
// stored in it is published again, so that apps need no consumers.
func DecisionsBucket(n events.Names, replicas int) jetstream.KeyValueConfig {
	bucket := n.Bucket(events.BucketDecisions)
	return jetstream.KeyValueConfig{Bucket: bucket, Replicas: replicas,
		RePublish: &jetstream.RePublish{Source: "$KV." + bucket + ".>", Destination: n.Decision(">")}}
}

// each returns the subjects of all partitions. A wildcard would take what is published to
// one that nobody reads.
func (l Layout) each(patterns ...string) []string {
	list := make([]string, 0, l.Partitions*len(patterns))
	for p := range l.Partitions {
		for _, pattern := range patterns {
			list = append(list, strings.Replace(pattern, "*", strconv.Itoa(p), 1))
		}
	}
	return list
}
