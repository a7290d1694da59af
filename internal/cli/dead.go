package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

type deadCmd struct {
	natsFlags
	Limit int `help:"How many of the newest." default:"50"`
}

func (c *deadCmd) Run(e *env) error {
	l, err := c.connect(e)
	if err != nil {
		return err
	}
	defer l.close()
	letters := []records.Dead{}
	ctx, cancel := context.WithTimeout(e.ctx, time.Minute)
	defer cancel()
	in := stream.Input{Stream: events.StreamDead, Filters: []string{l.names.Subject("dead.*")}}
	err = stream.Read(ctx, l.js, l.names, in, ^uint64(0), func(m *stream.Message) error {
		var d records.Dead
		if err := json.Unmarshal(m.Data, &d); err != nil {
			d = records.Dead{Reason: "unreadable", At: m.Time, Body: m.Data}
		}
		if letters = append(letters, d); len(letters) > c.Limit {
			letters = letters[1:]
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.printAny(letters, func(w *tabwriter.Writer) error {
		row(w, "STORED", "ORIGIN", "REASON", "EVENT")
		for _, d := range letters {
			row(w, d.At, d.Origin, d.Reason, fmt.Sprintf("%.120s", d.Body))
		}
		return nil
	})
}
