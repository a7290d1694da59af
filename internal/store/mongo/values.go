package mongo

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/bsontype"

	"github.com/tidegate-io/tidegate/events"
)

// amount is a value as BSON: int64 or, with a fraction, a decimal string. It is no
// Decimal128, because some servers of the protocol do not have that.
type amount events.Value

// MarshalBSONValue implements bson.ValueMarshaler.
func (a amount) MarshalBSONValue() (bsontype.Type, []byte, error) {
	if a.Nanos == 0 {
		return bson.MarshalValue(a.Units)
	}
	return bson.MarshalValue(events.Value(a).String())
}

// UnmarshalBSONValue implements bson.ValueUnmarshaler. It also accepts the number
// types that a shell writes when a person edits a document.
func (a *amount) UnmarshalBSONValue(t bsontype.Type, data []byte) error {
	raw := bson.RawValue{Type: t, Value: data}
	var text string
	switch t {
	case bson.TypeInt32, bson.TypeInt64:
		*a = amount{Units: raw.AsInt64()}
		return nil
	case bson.TypeDouble:
		text = strconv.FormatFloat(raw.Double(), 'f', -1, 64)
	case bson.TypeString:
		text = raw.StringValue()
	default:
		return fmt.Errorf("%w: a BSON %s", events.ErrValue, t)
	}
	v, err := events.ParseValue(text)
	if err == nil {
		*a = amount(v)
	}
	return err
}

// optional is an amount that may be null.
type optional struct {
	amount
	valid bool
}

func optionally(v events.NullValue) optional { return optional{amount(v.Value), v.Valid} }

func (o optional) value() events.NullValue {
	return events.NullValue{Value: events.Value(o.amount), Valid: o.valid}
}

func optionalPtr(v *events.Value) optional {
	if v == nil {
		return optional{}
	}
	return optional{amount(*v), true}
}

func (o optional) ptr() *events.Value {
	if !o.valid {
		return nil
	}
	v := events.Value(o.amount)
	return &v
}

// IsZero reports whether there is no amount, for omitempty.
func (o optional) IsZero() bool { return !o.valid }

// MarshalBSONValue implements bson.ValueMarshaler.
func (o optional) MarshalBSONValue() (bsontype.Type, []byte, error) {
	if !o.valid {
		return bson.TypeNull, nil, nil
	}
	return o.amount.MarshalBSONValue()
}

// UnmarshalBSONValue implements bson.ValueUnmarshaler.
func (o *optional) UnmarshalBSONValue(t bsontype.Type, data []byte) error {
	if t == bson.TypeNull {
		*o = optional{}
		return nil
	}
	o.valid = true
	return o.amount.UnmarshalBSONValue(t, data)
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// These escape a feature in a field's name. A dot or a dollar has another meaning
// in a query, and some servers refuse it.
var (
	fieldEscape   = strings.NewReplacer("%", "%25", ".", "%2E", "$", "%24")
	fieldUnescape = strings.NewReplacer("%25", "%", "%2E", ".", "%24", "$")
)
