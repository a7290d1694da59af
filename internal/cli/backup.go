package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/backup"
)

type backupCmd struct {
	natsFlags
	Dir string `arg:"" help:"New folder for the backup."`
}

func (c *backupCmd) Run(e *env) error {
	l, err := c.connect(e)
	if err != nil {
		return err
	}
	defer l.close()
	n, finish := l.copied(e)
	m, err := n.Write(e.ctx, c.Dir, e.build.Version)
	finish()
	if err != nil {
		return fmt.Errorf("no backup was made: %w", err)
	}
	return e.printBackup(m, m, "MongoDB is not in NATS, so it is not in this backup: back it up now, after this.")
}

type restoreCmd struct {
	natsFlags
	Dir      string `arg:"" help:"Folder of the backup."`
	Replicas int    `help:"Replicas of the streams (0: as many as they had)." default:"0" env:"TIDEGATE_REPLICAS"`
}

// restored is what the command says.
type restored struct {
	*backup.Manifest
	MissingAfter time.Time `json:"missing_after"` // what apps sent later is not in the backup
}

func (c *restoreCmd) Run(e *env) error {
	m, err := backup.Read(c.Dir)
	if err != nil {
		return err
	}
	l, err := c.dial(e)
	if err != nil {
		return err
	}
	defer l.close()
	if p := l.config.Partitions; p != 0 && p != m.Partitions {
		return fmt.Errorf("the backup has %d partitions, which cannot be changed, and the configuration says %d: set `partitions: %d`", m.Partitions, p, m.Partitions)
	}
	n, finish := l.copied(e)
	err = n.Restore(e.ctx, c.Dir, m, c.Replicas)
	finish()
	if err != nil {
		return err
	}
	out := restored{Manifest: m, MissingAfter: m.Began}
	if usage := m.Of(events.StreamUsage); usage != nil {
		out.MissingAfter = usage.Taken
	}
	return e.printBackup(out, m, fmt.Sprintf("Events that were stored after %s are not in this backup. Apps may send them again: "+
		"those that it has count once.\nStart Tidegate now: it has %d partitions.", out.MissingAfter.Format(time.RFC3339), m.Partitions))
}

// copied returns what copies streams, with a progress bar until finish.
func (l *streams) copied(e *env) (n backup.NATS, finish func()) {
	n = backup.NATS{JS: l.js, Names: l.names}
	bar := e.bar(-1, progressbar.OptionShowBytes(true))
	if bar == nil {
		return n, func() {}
	}
	n.Step = func(name string, bytes int64) {
		bar.Describe(name)
		_ = bar.Add64(bytes)
	}
	return n, func() { _ = bar.Finish() }
}

func (e *env) printBackup(v any, m *backup.Manifest, note string) error {
	return e.printAny(v, func(w *tabwriter.Writer) error {
		row(w, "STREAM", "MESSAGES", "FIRST", "LAST", "LAST STORED", "BYTES")
		for _, c := range m.Streams {
			row(w, c.Name, c.Messages, c.First, c.Last, c.LastAt, c.Bytes)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, warning := range m.Warnings {
			_, _ = fmt.Fprintln(w, "Warning:", warning)
		}
		_, err := fmt.Fprintln(w, note)
		return err
	})
}
