package stream

// RestoredKey is the key in the metadata of STATE that says which restore of a backup
// it comes from.
//
// A backup is older than what was there: apps and MongoDB have decisions and documents
// of later owners, and numbers of later messages. So the first owner after a restore
// passes over more epochs and numbers than there can have been, and whatever it decides
// or writes is newer.
const RestoredKey = "tidegate-restored"

const (
	restoredEpochs = 1 << 14 // owners since the backup: one a second is more than four hours of them
	restoredShift  = 1 << 36 // messages since the backup
)

// restoredBy returns which restore the stream comes from; "": none.
func (l *Log) restoredBy() string { return l.stream.CachedInfo().Config.Metadata[RestoredKey] }

// nextEpoch returns the number of the ownership that begins. The log says that it is
// the first after a restore only with the positions, in Lose.
func (l *Log) nextEpoch() uint64 {
	if l.last == 0 {
		l.restored = l.restoredBy()
	}
	if id := l.restoredBy(); id == "" || id == l.restored {
		return l.epoch + 1
	}
	l.returned = true
	return l.epoch + restoredEpochs
}
