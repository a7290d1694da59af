package history

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// LineIDs makes ids for events without one. An id depends on what the event says
// and on how often the same line came before, so that reading a file again gives
// the same ids.
type LineIDs map[[sha256.Size]byte]int

// Next returns the id of an event that says raw.
func (l LineIDs) Next(raw []byte) string {
	sum := sha256.Sum256(raw)
	l[sum]++
	return hex.EncodeToString(sum[:12]) + "-" + strconv.Itoa(l[sum])
}
