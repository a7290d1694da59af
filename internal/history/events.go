package history

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Events makes events of the past of records. Its ids must be used from one
// goroutine.
type Events struct {
	Mapping *Mapping
	Type    string    // of events that name none
	Source  string    // likewise
	Now     time.Time // the newest time that an event may have
	ids     LineIDs
}

// Event returns the event that a record says. It has a type, a customer, a time and
// an id, and is valid.
func (x *Events) Event(rec *Record) (events.Event, error) {
	ev, raw, err := x.Mapping.Event(rec)
	if err != nil {
		return ev, err
	}
	ev.Type = cmp.Or(ev.Type, x.Type)
	ev.Source = cmp.Or(ev.Source, x.Source)
	switch {
	case ev.Type == "":
		return ev, errors.New("`type` is missing: give --type for all events, or --map type=… for the name of what holds it")
	case ev.Subject == "":
		return ev, errors.New("`subject` is missing: give --map customer=… for the name of what holds the customer")
	case ev.Time.IsZero():
		return ev, errors.New("`time` is missing: history needs the time of each event, give --map time=… for the name of what holds it")
	}
	if ev.ID == "" {
		if rec.id != "" { // an _id could be another document's mapped id
			return ev, fmt.Errorf("`id` is missing: there is nothing in %q, which --map names for it", x.Mapping.from["id"])
		}
		if x.ids == nil {
			x.ids = LineIDs{}
		}
		ev.ID = x.ids.Next(raw)
	}
	if err := ev.Validate(); err != nil {
		return ev, err
	}
	return ev, events.CheckTime(ev.Time, x.Now, 0)
}
