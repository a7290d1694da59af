package mongo

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// batchTimeout is the time-out of one batch of documents, which the server may have
// to read from disk.
const batchTimeout = 30 * time.Second

// errStopped wraps the error of the callback that stopped an iteration.
type errStopped struct{ error }

func (e errStopped) Unwrap() error { return e.error }

// Count returns about how many documents a place's collection has. It returns an
// error when there is no such collection.
func (r *Reader) Count(ctx context.Context, p Place) (int64, error) {
	there, err := r.exists(ctx, &p)
	if err != nil {
		return 0, err
	}
	if !there {
		return 0, fmt.Errorf("%s: name the right ones with --collection and --database", r.absent(&p))
	}
	ctx, cancel := r.store.bound(ctx)
	defer cancel()
	n, err := r.collection(&p).EstimatedDocumentCount(ctx)
	return n, r.store.fail("count "+p.Collection, err)
}

// Each calls f with every document of a place's collection, ordered by _id. A
// document has the named fields of the first level, as JSON values: dates in RFC
// 3339, an ObjectID as hexadecimal digits, a UUID in its usual form, and a number
// exactly as stored. Each stops when f returns an error, and returns that error
// unchanged.
func (r *Reader) Each(ctx context.Context, p Place, fields []string, f func(doc map[string]any) error) error {
	err := r.each(ctx, &p, fields, f)
	var stopped errStopped
	if errors.As(err, &stopped) {
		return stopped.error
	}
	return r.store.fail("read "+p.Collection, err)
}

func (r *Reader) each(ctx context.Context, p *Place, fields []string, f func(doc map[string]any) error) error {
	wanted := bson.D{}
	for _, name := range fields {
		wanted = append(wanted, bson.E{Key: name, Value: 1})
	}
	first, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	cursor, err := r.collection(p).Find(first, bson.D{},
		options.Find().SetProjection(wanted).SetSort(bson.D{{Key: "_id", Value: 1}}).SetBatchSize(1000))
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := r.store.bound(context.WithoutCancel(ctx))
		defer cancel()
		_ = cursor.Close(end)
	}()
	for {
		within, cancel := context.WithTimeout(ctx, batchTimeout)
		more := cursor.Next(within)
		cancel()
		if !more {
			return cursor.Err()
		}
		doc, err := plainDocument(cursor.Current)
		if err != nil {
			return err
		}
		if err := f(doc); err != nil {
			return errStopped{err}
		}
	}
}

func plainDocument(doc bson.Raw) (map[string]any, error) {
	elements, err := doc.Elements()
	if err != nil {
		return nil, err
	}
	m := make(map[string]any, len(elements))
	for _, e := range elements {
		if m[e.Key()], err = plainValue(e.Value()); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func plainValue(v bson.RawValue) (any, error) {
	switch v.Type {
	case bson.TypeNull, bson.TypeUndefined:
		return nil, nil
	case bson.TypeString:
		return v.StringValue(), nil
	case bson.TypeBoolean:
		return v.Boolean(), nil
	case bson.TypeInt32, bson.TypeInt64:
		return json.Number(strconv.FormatInt(v.AsInt64(), 10)), nil
	case bson.TypeDouble:
		return plainNumber(v.Double()), nil
	case bson.TypeDecimal128:
		d := v.Decimal128()
		if d.IsNaN() || d.IsInf() != 0 {
			return d.String(), nil
		}
		return json.Number(d.String()), nil
	case bson.TypeDateTime:
		return v.Time().UTC().Format(time.RFC3339Nano), nil
	case bson.TypeTimestamp:
		seconds, _ := v.Timestamp()
		return time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339), nil
	case bson.TypeObjectID:
		return v.ObjectID().Hex(), nil
	case bson.TypeBinary:
		return plainBinary(v.Binary()), nil
	case bson.TypeEmbeddedDocument:
		return plainDocument(v.Document())
	case bson.TypeArray:
		return plainArray(v.Array())
	}
	return v.String(), nil // Extended JSON, for types such as a regular expression or code
}

func plainArray(list bson.Raw) (any, error) {
	values, err := list.Values()
	if err != nil {
		return nil, err
	}
	all := make([]any, len(values))
	for i, v := range values {
		if all[i], err = plainValue(v); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func plainNumber(x float64) any {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	format := byte('f')
	if math.Abs(x) >= 1e21 {
		format = 'e'
	}
	return json.Number(strconv.FormatFloat(x, format, -1, 64))
}

func plainBinary(subtype byte, b []byte) string {
	if (subtype == bson.TypeBinaryUUID || subtype == bson.TypeBinaryUUIDOld) && len(b) == 16 {
		x := hex.EncodeToString(b)
		return strings.Join([]string{x[:8], x[8:12], x[12:16], x[16:20], x[20:]}, "-")
	}
	return base64.StdEncoding.EncodeToString(b)
}
