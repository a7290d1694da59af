package wire

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrFormat is returned for what a newer version wrote in a form that this one does
// not know.
var ErrFormat = errors.New("run the version of Tidegate that wrote it, or a newer one")

// CheckFormat returns an ErrFormat, which names what, when its format is above the
// newest one that this version reads. 0 is the format of records without a number,
// which is the first.
func CheckFormat(what string, format, newest uint64) error {
	if format <= newest {
		return nil
	}
	return fmt.Errorf("%s has format %d, and this version reads formats up to %d: %w", what, format, newest, ErrFormat)
}

// tagFormat is the CBOR tag of a message with a format, "tide" in ASCII. Its content is an
// array of the format's number and the message. Tags of this size are free for anyone.
const tagFormat = 0x74696465

// totalsFormat is the newest format of the messages of WINDOWS.
const totalsFormat = 1

// beforeBody are the bytes before a message of a format.
func beforeBody(format uint64) []byte {
	return AppendUint(AppendArray(appendHead(nil, majorTag, tagFormat), 2), format)
}

var beforeTotals = beforeBody(totalsFormat)

// unseal returns the message behind its format. One without a format is of the first.
func unseal(what string, newest uint64, b []byte) ([]byte, error) {
	rest, sealed := bytes.CutPrefix(b, AppendArray(appendHead(nil, majorTag, tagFormat), 2))
	if !sealed {
		return b, nil
	}
	major, format, body, err := head(rest)
	if err != nil || major != majorUint {
		return nil, fmt.Errorf("%s: %w", what, errBroken)
	}
	return body, CheckFormat(what, format, newest)
}
