// Package history reads what happened before Tidegate came: events and customers
// from files and from the collections of an app's own MongoDB, under the names that
// the app uses.
package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidegate-io/tidegate/internal/environ"
	"github.com/tidegate-io/tidegate/internal/misuse"
	"github.com/tidegate-io/tidegate/internal/store/mongo"
)

// Source is where history is read: a file, or a collection of the app's own
// MongoDB.
type Source struct {
	File   string // "-" is standard input
	Format string // ndjson or csv; "": by the file's name

	Mongo      string // URI; "": APP_MONGODB_URI
	Collection string // with a document for each event or customer
	Database   string // "": the one that the URI names, else tidegate
}

// Check returns a misuse.Error if the fields do not name one source.
func (s *Source) Check() error {
	switch {
	case s.File == "" && s.Mongo == "" && s.Collection == "":
		return misuse.Errorf("name a FILE (- is standard input), or --mongo URI and --collection C")
	case s.File != "" && (s.Mongo != "" || s.Collection != "" || s.Database != ""):
		return misuse.Errorf("give the file %s or --mongo with --collection, not both", s.File)
	case s.File == "" && s.Collection == "":
		return misuse.Errorf("--mongo needs --collection C: the collection with a document for each")
	case s.File == "" && s.Format != "":
		return misuse.Errorf("--format is for files: leave it away with --collection")
	}
	return nil
}

// Unit returns what one record is called: line or document.
func (s *Source) Unit() string {
	if s.File == "" {
		return "document"
	}
	return "line"
}

// Name returns the source of events that name none. Collections may number their
// documents alike, so each has a name of its own.
func (s *Source) Name() string {
	if s.File == "" {
		return "import/" + s.Collection
	}
	return "import"
}

// Each calls f with every record. columns gets the first line of a CSV.
func (s *Source) Each(ctx context.Context, t Terminal, m *Mapping, columns func([]string) error, f Handler) error {
	if s.File == "" {
		return s.documents(ctx, t, m, f)
	}
	in, err := t.Open(s.File, s.Format)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return Read(in, in.Format, columns, f)
}

func (s *Source) documents(ctx context.Context, t Terminal, m *Mapping, f Handler) error {
	setting, uri := "--mongo", s.Mongo
	if uri == "" {
		var err error
		setting = "APP_MONGODB_URI"
		if uri, err = environ.Lookup(setting); err != nil {
			return err
		}
	}
	if uri == "" {
		return misuse.Errorf("--collection needs --mongo URI, or APP_MONGODB_URI: the address of your app's MongoDB")
	}
	r, err := mongo.OpenReader(setting, uri, s.Database)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close(ctx) }()
	place := mongo.Place{Collection: s.Collection}
	n, err := r.Count(ctx, place)
	if err != nil {
		return err
	}
	bar := t.bar(s.Collection, n, false)
	number := 0
	err = r.Each(ctx, place, m.fields(), func(doc map[string]any) error {
		number++
		_ = bar.Add(1)
		id, err := documentID(doc["_id"])
		return f(number, &Record{fields: doc, id: id}, err)
	})
	_ = bar.Finish()
	if err != nil && number > 0 {
		return fmt.Errorf("after %d documents: %w: run the command again, nothing is counted twice", number, err)
	}
	return err
}

// documentID returns an _id as text. An _id that is a document itself becomes JSON,
// whose members json.Marshal sorts.
func documentID(v any) (string, error) {
	switch v := text(v).(type) {
	case nil:
		return "", errors.New("the document has no _id: a view must keep it")
	case string:
		return v, nil
	default:
		b, err := json.Marshal(v)
		return string(b), err
	}
}
