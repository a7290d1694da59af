package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// A struct that is encoded as an array grows only at its end. So a record of another
// version has fewer elements, which are zero here, or more, which mean nothing here.
// The decoder refuses both: conform writes such a record with as many elements as its
// struct has. It takes as long again as decoding, so Unmarshal calls it only then.

// lengthsDiffer reports whether the decoder refused a record for its number of elements.
func lengthsDiffer(err error) bool {
	var mismatch *cbor.UnmarshalTypeError
	return errors.As(err, &mismatch) && strings.HasPrefix(mismatch.CBORType, "array")
}

var (
	timeType        = reflect.TypeFor[time.Time]()
	unmarshalerType = reflect.TypeFor[cbor.Unmarshaler]()
)

// conform appends the first item of b to out in the form of t, and returns the rest.
func conform(out, b []byte, t reflect.Type) (more, rest []byte, err error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == timeType || reflect.PointerTo(t).Implements(unmarshalerType) {
		return whole(out, b)
	}
	major, n, body, err := head(b)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case major == majorArray && t.Kind() == reflect.Struct:
		return conformStruct(out, body, t, n)
	case major == majorArray && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array):
		return conformItems(appendHead(out, major, n), body, n, func(int) reflect.Type { return t.Elem() })
	case major == majorMap && t.Kind() == reflect.Map:
		return conformItems(appendHead(out, major, n), body, 2*n, func(i int) reflect.Type {
			if i%2 == 0 {
				return t.Key()
			}
			return t.Elem()
		})
	case major == majorMap && t.Kind() == reflect.Struct:
		return conformMap(appendHead(out, major, n), body, t, n)
	}
	return whole(out, b)
}

// whole appends the first item of b as it is.
func whole(out, b []byte) (more, rest []byte, err error) {
	var item cbor.RawMessage
	if rest, err = dec.UnmarshalFirst(b, &item); err != nil {
		return nil, nil, err
	}
	return append(out, item...), rest, nil
}

// conformItems appends n items, whose types typeOf returns.
func conformItems(out, b []byte, n uint64, typeOf func(i int) reflect.Type) (more, rest []byte, err error) {
	for i := range int(n) {
		if out, b, err = conform(out, b, typeOf(i)); err != nil {
			return nil, nil, err
		}
	}
	return out, b, nil
}

// conformStruct appends an array of n elements as one of as many as the struct has.
func conformStruct(out, b []byte, t reflect.Type, n uint64) (more, rest []byte, err error) {
	fields := fieldsOf(t)
	have := min(int(n), len(fields))
	out, b, err = conformItems(appendHead(out, majorArray, uint64(len(fields))), b, uint64(have), func(i int) reflect.Type { return fields[i].Type })
	if err != nil {
		return nil, nil, err
	}
	for range len(fields) - have {
		out = AppendNil(out)
	}
	for range int(n) - have {
		if _, b, err = whole(nil, b); err != nil {
			return nil, nil, err
		}
	}
	return out, b, nil
}

// conformMap appends a map of n entries that is decoded into a struct.
func conformMap(out, b []byte, t reflect.Type, n uint64) (more, rest []byte, err error) {
	byKey := map[string]reflect.Type{}
	for _, f := range fieldsOf(t) {
		key, _, _ := strings.Cut(tagOf(f), ",")
		if key == "" {
			key = f.Name
		}
		byKey[key] = f.Type
	}
	for range int(n) {
		var key any
		if _, err := dec.UnmarshalFirst(b, &key); err != nil {
			return nil, nil, err
		}
		if out, b, err = whole(out, b); err != nil {
			return nil, nil, err
		}
		kind, known := byKey[fmt.Sprint(key)]
		if !known {
			kind = reflect.TypeFor[cbor.RawMessage]()
		}
		if out, b, err = conform(out, b, kind); err != nil {
			return nil, nil, err
		}
	}
	return out, b, nil
}

// tagOf returns the tag that the decoder goes by.
func tagOf(f reflect.StructField) string {
	if tag, ok := f.Tag.Lookup("cbor"); ok {
		return tag
	}
	return f.Tag.Get("json")
}

// fieldsOf returns the fields of a struct that the decoder knows, and in place of an
// embedded struct those of that one.
func fieldsOf(t reflect.Type) (fields []reflect.StructField) {
	for i := range t.NumField() {
		switch f := t.Field(i); {
		case f.Anonymous && f.Type.Kind() == reflect.Struct && tagOf(f) == "":
			fields = append(fields, fieldsOf(f.Type)...)
		case f.IsExported() && tagOf(f) != "-":
			fields = append(fields, f)
		}
	}
	return fields
}

var errBroken = errors.New("a broken record")

// head reads the first bytes of an item: its major type, its length or value, and what
// follows.
func head(b []byte) (major byte, n uint64, body []byte, err error) {
	if len(b) == 0 {
		return 0, 0, nil, errBroken
	}
	major, info := b[0]&0xe0, b[0]&0x1f
	if info < 24 {
		return major, uint64(info), b[1:], nil
	}
	size := 1 << (info - 24)
	if info > 27 || len(b) < 1+size {
		return 0, 0, nil, errBroken
	}
	var wide [8]byte
	copy(wide[8-size:], b[1:1+size])
	return major, binary.BigEndian.Uint64(wide[:]), b[1+size:], nil
}
