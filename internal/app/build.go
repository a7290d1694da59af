package app

import (
	"fmt"
	"io"

	"github.com/VictoriaMetrics/metrics"
)

// writeBuild writes which Tidegate this is.
func (a *App) writeBuild(w io.Writer) {
	b := a.set.Build
	metrics.WriteGaugeUint64(w, fmt.Sprintf("tidegate_build_info{version=%q,commit=%q,goversion=%q}", b.Version, b.Commit, b.Go), 1)
}
