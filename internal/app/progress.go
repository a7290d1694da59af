package app

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/tidegate-io/tidegate/internal/stream"
)

// DocumentsOf returns how many of a partition's documents wait to be written; nil
// if it writes none. The notifier stores each document before it goes on, so its
// pending messages are what waits.
func DocumentsOf(p *stream.Progress) *stream.Documents {
	if p.Role == stream.RoleNotifier {
		return &stream.Documents{Collection: "notifications", Waiting: int(p.Pending), Oldest: p.Lag}
	}
	return p.Documents
}

// writeProgress writes what this process owns and how far it has come.
func (a *App) writeProgress(w io.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	metrics.WriteGaugeUint64(w, fmt.Sprintf("tidegate_process{holder=%q}", a.holder), 1)
	for _, t := range a.supervisor.Troubles() {
		labels := fmt.Sprintf("{role=%q}", t.Role)
		metrics.WriteCounterUint64(w, "tidegate_dead_letters_total"+labels, t.DeadLetters)
		metrics.WriteCounterUint64(w, "tidegate_dead_letters_lost_total"+labels, t.LostLetters)
		metrics.WriteCounterUint64(w, "tidegate_messages_panicked_total"+labels, t.Panicked)
		metrics.WriteCounterUint64(w, "tidegate_failures_total"+labels, t.Failures)
		metrics.WriteCounterUint64(w, "tidegate_documents_refused_total"+labels, t.Refused)
		metrics.WriteCounterUint64(w, "tidegate_messages_lost_total"+labels, t.Lost)
		metrics.WriteCounterUint64(w, "tidegate_fingerprints_lost_total"+labels, t.Forgotten)
	}
	for _, p := range a.supervisor.Progress(ctx) {
		labels := fmt.Sprintf("{role=%q,partition=\"%d\"}", p.Role, p.Partition)
		metrics.WriteGaugeUint64(w, "tidegate_partition_epoch"+labels, p.Epoch)
		metrics.WriteGaugeUint64(w, "tidegate_partition_pending"+labels, p.Pending)
		metrics.WriteGaugeFloat64(w, "tidegate_partition_lag_seconds"+labels, p.Lag.Seconds())
		if p.Horizon != nil {
			metrics.WriteGaugeFloat64(w, fmt.Sprintf("tidegate_duplicates_horizon_seconds{partition=\"%d\"}", p.Partition), p.Horizon.Seconds())
		}
		if d := DocumentsOf(&p); d != nil {
			labels := fmt.Sprintf("{collection=%q,partition=\"%d\"}", d.Collection, p.Partition)
			metrics.WriteGaugeUint64(w, "tidegate_documents_waiting"+labels, uint64(d.Waiting))
			metrics.WriteGaugeFloat64(w, "tidegate_documents_lag_seconds"+labels, d.Oldest.Seconds())
		}
	}
}
