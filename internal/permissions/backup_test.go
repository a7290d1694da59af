package permissions

import (
	"path/filepath"
	"testing"

	"github.com/tidegate-io/tidegate/internal/backup"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// TestBackupAsItsUser makes a backup and restores it as the user that is for it.
func TestBackupAsItsUser(t *testing.T) {
	t.Parallel()
	forBothNamespaces(t, func(s *site) {
		u := s.user(Backup)
		js, err := stream.JetStream(u.Conn)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(s.t.TempDir(), "backup")
		n := backup.NATS{JS: js, Names: s.o.Names}
		m, err := n.Write(t.Context(), dir, "test")
		if err != nil {
			s.t.Fatal(err)
		}
		before := s.holdings()
		for name := range before {
			if err := s.js.DeleteStream(t.Context(), name); err != nil {
				s.t.Fatal(err)
			}
		}
		if err := n.Restore(t.Context(), dir, m, 0); err != nil {
			s.t.Fatal(err)
		}
		if u.wasDenied() {
			s.t.Error("something was denied")
		}
		if after := s.holdings(); len(after) != len(m.Streams) || len(after) != len(before)-2 { // without decisions and owners
			s.t.Errorf("there are %d streams, in the backup %d, before %d", len(after), len(m.Streams), len(before))
		}
	})
}
