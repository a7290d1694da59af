package stream

import (
	"strings"
	"time"
)

// delivery is the server's description of a message that it delivers.
type delivery struct {
	seq         uint64    // in the stream; 0: the message is not from a consumer
	consumerSeq uint64    // counts the messages of the consumer, from 1
	time        time.Time // when the message was stored
}

// parseDelivery reads a delivery off the reply subject of a message. The
// library's Metadata does the same in three times the time, because it
// allocates; for small messages that is as much as folding one costs.
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<time>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<time>.<pending>[.<random>]
func parseDelivery(reply string) delivery {
	position := 5 // of <seq> among the fields
	switch dots := strings.Count(reply, "."); {
	case !strings.HasPrefix(reply, "$JS.ACK."):
		return delivery{}
	case dots >= 10:
		position = 7
	case dots != 8:
		return delivery{}
	}
	field := 0
	var numbers [3]uint64
	for i := 0; i < len(reply) && field < position+3; i++ {
		switch c := reply[i]; {
		case c == '.':
			field++
		case field >= position:
			if c < '0' || c > '9' {
				return delivery{}
			}
			numbers[field-position] = numbers[field-position]*10 + uint64(c-'0')
		}
	}
	return delivery{seq: numbers[0], consumerSeq: numbers[1], time: time.Unix(0, int64(numbers[2])).UTC()}
}
