package audit

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/records"
)

// Settings are the values of a configuration by their paths (config.Config.Written).
type Settings map[string]config.Setting

const (
	// changesShown is how many values an entry names, and textShown how many bytes of
	// each.
	changesShown = 100
	textShown    = 200
	takeAttempts = 5
)

// TakeOver writes that a configuration is taken over, unless it is the one that the log
// has last. Many processes may say so at once: one entry is written. The first
// configuration that a log sees is kept to compare with, and is not shown. The error is
// ErrNotWritten: the configuration must not be taken over.
func (l *Log) TakeOver(ctx context.Context, actor string, s Settings) error {
	var err error
	for range takeAttempts {
		var again bool
		if again, err = l.takeOver(ctx, actor, s); !again {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotWritten, err)
	}
	return nil
}

// takeOver reports whether another process has written meanwhile.
func (l *Log) takeOver(ctx context.Context, actor string, s Settings) (again bool, err error) {
	last, seq, err := l.lastSettings(ctx)
	if err != nil || seq > 0 && maps.Equal(last, s) {
		return false, err
	}
	r := record{Format: format, Entry: Entry{ID: NewID(), Actor: actor, Action: Configuration}}
	if r.State, err = pack(s); err != nil {
		return false, err
	}
	token := r.token()
	r.Before, r.After = differences(last, s)
	if seq == 0 {
		r.Action = ""
	}
	m, err := l.message(kindEntry, token, r)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err = l.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(seq))
	if wrongSequence(err) {
		return true, err
	}
	if err == nil && seq > 0 {
		l.line(&r.Entry)
	}
	return false, err
}

// wrongSequence reports whether a server refused a message because another one came
// before it.
func wrongSequence(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// lastSettings returns the configuration that was taken over last, and the sequence of
// its entry; 0: there is none.
func (l *Log) lastSettings(ctx context.Context) (Settings, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	s, err := l.js.Stream(ctx, l.stream())
	if err != nil {
		return nil, 0, err
	}
	about := Entry{Action: Configuration}
	m, err := s.GetLastMsgForSubject(ctx, l.names.Audit(kindEntry, about.token()))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if records.RefuseAnswer(m.Header, 0) != nil { // AUDIT allows no direct gets
		return nil, m.Sequence, nil
	}
	var r record
	if err := decode(m.Data, &r, &r.Format); err != nil {
		return nil, 0, err
	}
	settings, err := unpack(r.State)
	return settings, m.Sequence, err
}

// differences returns what differs, as an entry shows it: a digest of each
// configuration, and the values by path.
func differences(a, b Settings) (before, after json.RawMessage) {
	was, is := map[string]*string{}, map[string]*string{}
	paths := slices.Sorted(maps.Keys(a))
	for path := range b {
		if _, both := a[path]; !both {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	more := 0
	for _, path := range paths {
		x, before := a[path]
		y, after := b[path]
		if before == after && x == y {
			continue
		}
		if len(was) == changesShown {
			more++
			continue
		}
		was[path], is[path] = shown(x, before), shown(y, after)
		if before && after && x.Text == y.Text {
			*is[path] += " (with another value)"
		}
	}
	return Value(differing{was, digest(a), more}), Value(differing{is, digest(b), more})
}

// differing is one side of what differs between two configurations.
type differing struct {
	Values map[string]*string `json:"values"`         // null: not there
	Digest string             `json:"digest"`         // of the whole
	More   int                `json:"more,omitempty"` // values that differ and are not named
}

func shown(s config.Setting, there bool) *string {
	if !there {
		return nil
	}
	text := s.Text
	if len(text) > textShown {
		text = string(bytes.ToValidUTF8([]byte(text[:textShown]), nil)) + "…"
	}
	return &text
}

func digest(s Settings) string {
	sum := sha256.Sum256(Value(s)) // json.Marshal sorts the keys of maps
	return hex.EncodeToString(sum[:8])
}

// pack makes settings small enough for a message: a configuration has up to 1 MiB.
func pack(s Settings) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	err := errors.Join(json.NewEncoder(w).Encode(s), w.Close())
	return b.Bytes(), err
}

func unpack(b []byte) (s Settings, err error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		err = json.NewDecoder(io.LimitReader(r, 64<<20)).Decode(&s)
	}
	if err != nil {
		return nil, fmt.Errorf("the configuration in the audit log cannot be read: %w", err)
	}
	return s, nil
}
