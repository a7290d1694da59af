package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/schollz/progressbar/v3"

	"github.com/tidegate-io/tidegate/internal/store/mongo"
)

// origin is where an import reads: a file, or a collection of the app's own
// MongoDB.
type origin struct {
	File       string   `arg:"" optional:"" help:"NDJSON or CSV file; - is standard input."`
	Format     string   `help:"ndjson or csv (default: by the file's name)." enum:",ndjson,csv" default:""`
	Map        []string `help:"Where the file or collection calls something otherwise: Tidegate's name first, such as customer=user_id,time=at,data.tokens=usage.total." placeholder:"NAME=COLUMN"`
	Mongo      string   `help:"Read documents of the app's own MongoDB, in place of a file (default with --collection: APP_MONGODB_URI)." placeholder:"URI"`
	Collection string   `help:"Collection with a document for each event or customer."`
	Database   string   `help:"Its database (default: the one that the URI names, else tidegate)."`
}

// check says what is wrong with the flags.
func (o *origin) check() error {
	switch {
	case o.File == "" && o.Mongo == "" && o.Collection == "":
		return usageError{errors.New("name a FILE (- is standard input), or --mongo URI and --collection C")}
	case o.File != "" && (o.Mongo != "" || o.Collection != "" || o.Database != ""):
		return usageError{fmt.Errorf("give the file %s or --mongo with --collection, not both", o.File)}
	case o.File == "" && o.Collection == "":
		return usageError{errors.New("--mongo needs --collection C: the collection with a document for each")}
	case o.File == "" && o.Format != "":
		return usageError{errors.New("--format is for files: leave it away with --collection")}
	}
	return nil
}

// unit is what one thing that is read is called.
func (o *origin) unit() string {
	if o.File == "" {
		return "document"
	}
	return "line"
}

// source is what events say who reports when nothing names it. Collections may
// number their documents alike, so each is a source of its own.
func (o *origin) source() string {
	if o.File == "" {
		return "import/" + o.Collection
	}
	return "import"
}

// each hands over every record, with its line or number, or why it cannot be
// read.
func (o *origin) each(e *env, m *mapping, columns func([]string) error, f func(line int, rec *record, err error) error) error {
	if o.File == "" {
		return o.documents(e, m, f)
	}
	in, err := e.open(o.File, o.Format)
	if err != nil {
		return err
	}
	defer in.finish()
	return readRecords(in, in.format, columns, f)
}

func (o *origin) documents(e *env, m *mapping, f func(line int, rec *record, err error) error) error {
	setting, uri := "--mongo", o.Mongo
	if uri == "" {
		var err error
		setting = "APP_MONGODB_URI"
		if uri, err = lookup(setting); err != nil {
			return err
		}
	}
	if uri == "" {
		return usageError{errors.New("--collection needs --mongo URI, or APP_MONGODB_URI: the address of your app's MongoDB")}
	}
	r, err := mongo.OpenReader(setting, uri, o.Database)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close(e.ctx) }()
	place := mongo.Place{Collection: o.Collection}
	n, err := r.Count(e.ctx, place)
	if err != nil {
		return err
	}
	bar := e.bar(n, o.Collection, progressbar.OptionShowCount())
	number := 0
	err = r.Each(e.ctx, place, m.fields(), func(doc map[string]any) error {
		if number++; bar != nil {
			_ = bar.Add(1)
		}
		id, err := documentID(doc["_id"])
		return f(number, &record{fields: doc, id: id}, err)
	})
	if bar != nil {
		_ = bar.Finish()
	}
	if err != nil && number > 0 {
		return fmt.Errorf("after %d documents: %w: run the command again, nothing is counted twice", number, err)
	}
	return err
}

// documentID is an _id as text; one that is a document itself as JSON, whose
// members json.Marshal sorts.
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

// named adds to an error which document it is about: its number alone would
// not find it.
func (r *record) named(err error) error {
	if r == nil || r.id == "" {
		return err
	}
	return fmt.Errorf("_id %s: %w", r.id, err)
}
