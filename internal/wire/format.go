package wire

import (
	"bytes"
	"fmt"

	"github.com/tidegate-io/tidegate/events"
)

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
	return body, events.CheckFormat(what, format, newest)
}
