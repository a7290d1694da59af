package wire

import (
	"encoding/binary"
	"time"
)

// The Append functions encode records that a role has millions of. They append the
// same bytes as Marshal for the same value, in a tenth of the time, because they do
// not use reflection.

const (
	majorUint  = 0 << 5
	majorInt   = 1 << 5
	majorText  = 3 << 5
	majorArray = 4 << 5
	majorMap   = 5 << 5
	majorTag   = 6 << 5
)

func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// AppendUint appends an unsigned integer.
func AppendUint(b []byte, v uint64) []byte { return appendHead(b, majorUint, v) }

// AppendInt appends an integer.
func AppendInt(b []byte, v int64) []byte {
	if v < 0 {
		return appendHead(b, majorInt, uint64(-1-v))
	}
	return appendHead(b, majorUint, uint64(v))
}

// AppendText appends a string.
func AppendText[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

// AppendBool appends a boolean.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0xf5)
	}
	return append(b, 0xf4)
}

// AppendArray begins an array of n elements, which the caller appends next. It also
// begins a struct that is encoded as an array.
func AppendArray(b []byte, n int) []byte { return appendHead(b, majorArray, uint64(n)) }

// AppendNil appends null, the encoding of a nil slice or map.
func AppendNil(b []byte) []byte { return append(b, 0xf6) }

// AppendTime appends a time; the zero time is null.
func AppendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return AppendNil(b)
	}
	var buf [len(time.RFC3339Nano)]byte
	s := t.AppendFormat(buf[:0], time.RFC3339Nano)
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

// BeginList begins an array of unknown length. EndList sets the length.
func BeginList(b []byte) []byte { return append(b, majorArray|26, 0, 0, 0, 0) }

// EndList sets the length of the array that BeginList appended at offset at.
func EndList(b []byte, at, n int) { binary.BigEndian.PutUint32(b[at+1:], uint32(n)) }
