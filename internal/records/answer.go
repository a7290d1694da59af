package records

import "errors"

// ErrAnswer is returned for a message that a NATS server stored as its own answer.
var ErrAnswer = errors.New("the NATS server stored this as its answer to a request for a stored message: " +
	"nobody who may publish here has sent it. Look who has the password of a role or of the operator")

// RefuseAnswer returns ErrAnswer for a message with these headers, which a server adds to
// a stored message that it is asked for. Whoever asks also says where the answer goes, and
// the server publishes there what the asker may not. times is how often a header stands
// there in a message that nobody asked for in this way: once if the reader itself has
// asked by a direct get, else never.
func RefuseAnswer(header map[string][]string, times int) error {
	if len(header) == 0 {
		return nil
	}
	for _, name := range [...]string{"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"} {
		if len(header[name]) > times {
			return ErrAnswer
		}
	}
	if len(header["Nats-Num-Pending"]) > 0 { // of many messages, or the end of them
		return ErrAnswer
	}
	return nil
}
