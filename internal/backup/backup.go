// Package backup copies everything that NATS keeps for a Tidegate into a folder, while it
// runs, and back into another NATS.
//
// A copy is made stream by stream, each later than its effects: first the logs of the
// partitions, last the audit log, whose entries come before what they describe. So no
// copy contains the effect of a message that the copy of its stream lacks, and all logs
// end before their inputs do. What lies between is read again, as after a crash.
package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// Format is that of the folder. A reader refuses another.
const Format = 1

// manifestFile is written last: a folder without it is no backup.
const manifestFile = "backup.json"

// Manifest says what is in a folder.
type Manifest struct {
	Format     int       `json:"format"`
	Version    string    `json:"version"` // of Tidegate
	Server     string    `json:"nats_server"`
	Namespace  string    `json:"namespace"`
	Partitions int       `json:"partitions"`
	Began      time.Time `json:"began"`
	Ended      time.Time `json:"ended"`
	Streams    []Copy    `json:"streams"` // in the order in which they were copied
	Warnings   []string  `json:"warnings,omitempty"`
}

// Copy is the copy of a stream or a bucket.
type Copy struct {
	Name     string    `json:"name"`
	Bucket   bool      `json:"bucket,omitempty"` // its file has a line for each key
	File     string    `json:"file"`
	Messages uint64    `json:"messages"`
	First    uint64    `json:"first"` // sequence
	Last     uint64    `json:"last"`
	LastAt   time.Time `json:"last_at,omitzero"` // when the last message was stored
	Taken    time.Time `json:"taken"`            // what was stored before is in the copy
	Bytes    int64     `json:"bytes"`            // of the file
	SHA256   string    `json:"sha256"`

	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state,omitempty"`
}

// Of returns the copy of a stream, by its base name; nil: there is none.
func (m *Manifest) Of(base string) *Copy {
	for i := range m.Streams {
		if m.Streams[i].Name == (events.Names{Namespace: m.Namespace}).Stream(base) {
			return &m.Streams[i]
		}
	}
	return nil
}

// NATS is where the streams are.
type NATS struct {
	JS    jetstream.JetStream
	Names events.Names
	// Step, when set, is called with how many bytes of a stream were copied since the
	// last call.
	Step func(name string, bytes int64)
}

func (n NATS) step(name string, bytes int64) {
	if n.Step != nil {
		n.Step(name, bytes)
	}
}

// streams returns the base names in the order in which they are copied; buckets of
// documents come after SEEN.
func streams() []string {
	return []string{events.StreamState, events.StreamSeen, events.StreamDead, events.StreamLimits, events.StreamWindows,
		events.StreamUsage, events.StreamAccount, events.StreamBilling, events.StreamAudit}
}

// documentBuckets returns the base names of the buckets with documents, which are there
// without MongoDB. The other buckets are made again: decisions by their owners, and
// leases do not outlive theirs.
func documentBuckets() []string {
	return []string{"store_usage", "store_customers", "store_subscriptions", "store_notifications", "store_conversions"}
}

// seenWithin is how long the copy of SEEN may take after that of STATE. Owners delete
// what STATE no longer names after ten minutes.
const seenWithin = 9 * time.Minute

// Write copies everything into a folder that is empty or missing.
func (n NATS) Write(ctx context.Context, dir, version string) (*Manifest, error) {
	if err := emptyFolder(dir); err != nil {
		return nil, err
	}
	partitions, err := stream.Partitions(ctx, n.JS, n.Names)
	if err != nil {
		return nil, err
	}
	m := &Manifest{Format: Format, Version: version, Server: n.JS.Conn().ConnectedServerVersion(), Namespace: n.Names.Namespace,
		Partitions: partitions, Began: time.Now().UTC()}
	for _, base := range streams() {
		c, err := n.copyStream(ctx, dir, base)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", n.Names.Stream(base), err)
		}
		m.Streams = append(m.Streams, *c)
		if base != events.StreamSeen {
			continue
		}
		if took := time.Since(m.Streams[0].Taken); took > seenWithin {
			m.Warnings = append(m.Warnings, fmt.Sprintf("%s took %s: fingerprints that were merged meanwhile may be missing; "+
				"make a backup when there is less usage, or copy the folder of a stopped server", c.Name, took.Round(time.Second)))
		}
		if err := n.copyBuckets(ctx, dir, m); err != nil {
			return nil, err
		}
	}
	m.Ended = time.Now().UTC()
	return m, writeManifest(dir, m)
}

func (n NATS) copyBuckets(ctx context.Context, dir string, m *Manifest) error {
	for _, base := range documentBuckets() {
		c, err := n.copyBucket(ctx, dir, base)
		if err != nil {
			return fmt.Errorf("bucket %s: %w", n.Names.Bucket(base), err)
		}
		if c != nil {
			m.Streams = append(m.Streams, *c)
		}
	}
	return nil
}

func emptyFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	found, err := os.ReadDir(dir)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("%s is not empty: name a new folder", dir)
	}
	return err
}

func writeManifest(dir string, m *Manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	temporary := filepath.Join(dir, manifestFile+".tmp")
	if err := os.WriteFile(temporary, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(dir, manifestFile))
}

// Read returns the manifest of a folder.
func Read(dir string) (*Manifest, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s: it is no backup, or one that did not end", dir, manifestFile)
	}
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if m.Format != Format {
		return nil, fmt.Errorf("%s has format %d, this version reads %d: take the version %s", manifestFile, m.Format, Format, m.Version)
	}
	for _, c := range m.Streams {
		if c.File != filepath.Base(c.File) || strings.HasPrefix(c.File, ".") {
			return nil, fmt.Errorf("%s names a file outside of the folder: %q", manifestFile, c.File)
		}
	}
	return &m, nil
}
