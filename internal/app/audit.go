package app

import (
	"context"
	"os"
	"time"

	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/config"
)

// auditRetry is the pause between two attempts to bring the audit log up to date.
const auditRetry = 5 * time.Second

// configActor is who takes a configuration over.
func configActor() string {
	host, _ := os.Hostname()
	return audit.Actor(audit.ConfigurationActor, host)
}

// startAudit writes that this process runs with its configuration, if that is another
// one than before, and has AUDIT keep entries as long as the configuration says, also
// after an edit. A start does not fail over it: an audit log that is full must not keep
// Tidegate down. It is tried again until it works.
func (a *App) startAudit(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	edited, done := make(chan struct{}, 1), make(chan struct{})
	a.reconfigure = append(a.reconfigure, func(*config.Config) {
		select {
		case edited <- struct{}{}:
		default:
		}
	})
	written := false
	update := func() (err error) {
		c := a.config.Load()
		if !written { // an edit is written before it is taken over: followConfig
			if err = a.audit.TakeOver(ctx, configActor(), c.Written()); err != nil {
				return err
			}
			written = true
		}
		if a.set.has(RoleEnforcer) { // ingest, which strangers reach, may not change streams
			err = a.audit.Keep(ctx, c.Retention.Audit)
		}
		return err
	}
	err := update()
	go func() {
		defer close(done)
		for told := false; ; told = err != nil {
			var again <-chan time.Time
			if err != nil {
				if !told {
					a.log.Error("audit_log_not_up_to_date", "error", err)
				}
				again = time.After(auditRetry)
			}
			select {
			case <-ctx.Done():
				return
			case <-edited:
			case <-again:
			}
			err = update()
		}
	}()
	a.onStop("audit", func(context.Context) error { cancel(); <-done; return nil })
}
