package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// Difference is a setting of a stream that is not as the layout says.
type Difference struct {
	Stream, Setting string
	Is, Want        any
}

func (d Difference) String() string {
	return fmt.Sprintf("stream %s has %s %v, the configuration says %v", d.Stream, d.Setting, d.Is, d.Want)
}

// Settle gives the streams that exist what the layout says, which has Partitions.
func Settle(ctx context.Context, js jetstream.JetStream, l Layout) error {
	for _, cfg := range l.streams() {
		s, err := js.Stream(ctx, cfg.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err == nil {
			err = settle(ctx, js, s.CachedInfo().Config, cfg, l)
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", cfg.Name, err)
		}
	}
	return nil
}

// settle gives a stream what the layout says and the stream has otherwise.
func settle(ctx context.Context, js jetstream.JetStream, now, cfg jetstream.StreamConfig, l Layout) error {
	if l.ReadOnly {
		return nil
	}
	differences := l.differences(&now, &cfg)
	if len(differences) == 0 {
		return nil
	}
	if _, err := js.UpdateStream(ctx, now); err != nil {
		return fmt.Errorf("%v, and it cannot be changed: %w", differences[0], err)
	}
	if l.Changed != nil {
		for _, d := range differences {
			l.Changed(d)
		}
	}
	return nil
}

// Differences returns what the streams that exist have otherwise than the layout says.
func Differences(ctx context.Context, js jetstream.JetStream, l Layout) (list []Difference, err error) {
	for _, cfg := range l.streams() {
		s, err := js.Stream(ctx, cfg.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", cfg.Name, err)
		}
		now := s.CachedInfo().Config
		list = append(list, l.differences(&now, &cfg)...)
	}
	return list, nil
}

// differences compares what the layout says of a stream, and sets it in now. What it does
// not say is the operator's: a bound, more replicas, and subjects that somebody has edited.
func (l Layout) differences(now, cfg *jetstream.StreamConfig) (list []Difference) {
	differs := func(setting string, is, want any) {
		list = append(list, Difference{Stream: cfg.Name, Setting: setting, Is: is, Want: want})
	}
	ages := map[string]bool{
		l.Names.Stream(events.StreamUsage): l.UsageAge > 0, l.Names.Stream(events.StreamSeen): l.Horizon > 0, l.Names.Stream(events.StreamAudit): l.AuditAge > 0,
	}
	if ages[cfg.Name] && now.MaxAge != cfg.MaxAge {
		differs("max_age", now.MaxAge, cfg.MaxAge)
		now.MaxAge = cfg.MaxAge
	}
	if now.Replicas < l.Replicas { // more are the operator's
		differs("replicas", now.Replicas, cfg.Replicas)
		now.Replicas = cfg.Replicas
	}
	if l.UsageBytes > 0 && cfg.Name == l.Names.Stream(events.StreamUsage) && now.MaxBytes != cfg.MaxBytes {
		differs("max_bytes", now.MaxBytes, cfg.MaxBytes)
		now.MaxBytes = cfg.MaxBytes
	}
	if wild := wildcards(cfg.Subjects); !slices.Equal(wild, cfg.Subjects) && slices.Equal(now.Subjects, wild) {
		differs("subjects", wild, "those of its partitions")
		now.Subjects = cfg.Subjects
	}
	return list
}

// wildcards returns the subjects that a former version gave a stream, which also took what
// was published to partitions that there are not.
func wildcards(subjects []string) (list []string) {
	for _, s := range subjects {
		tokens := strings.Split(s, ".")
		for i, t := range tokens {
			if t != "" && strings.Trim(t, "0123456789") == "" {
				tokens[i] = "*"
			}
		}
		if wild := strings.Join(tokens, "."); !slices.Contains(list, wild) {
			list = append(list, wild)
		}
	}
	return list
}
