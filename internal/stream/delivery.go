package stream

import (
	"strings"
	"time"
)

// delivery is what the server says of a message that it delivers.
type delivery struct {
	seq         uint64    // in the stream; 0: not a message of a consumer
	consumerSeq uint64    // counts the messages of the consumer, from 1
	time        time.Time // when it was stored
}

// delivered reads a delivery off the reply subject of a message. The library's
// Metadata takes three times as long, by allocating, which for small messages is
// as much as folding one costs.
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<time>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<time>.<pending>[.<random>]
func delivered(reply string) delivery {
	position := 5
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
