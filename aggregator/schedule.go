package aggregator

const hourMillis = 3600 * 1000

// schedule maps each hour to the customers that have a window to be looked at in
// that hour: it ends then, or it expires. An entry may be out of date, so the
// caller must check the windows. Without a schedule the fold would look at every
// customer each time that any window ends, which took more time than all other
// work.
type schedule struct {
	hours map[uint32][]uint32 // the numbers of the customers
	next  uint32              // the first hour that is not over
}

// add enters a customer at hour, or at the next hour if that one is over. It
// returns the hour of the entry.
func (s *schedule) add(hour, number uint32) uint32 {
	hour = max(hour, s.next)
	if s.hours == nil {
		s.hours = map[uint32][]uint32{}
	}
	s.hours[hour] = append(s.hours[hour], number)
	return hour
}

// takeUntil removes the entries of all hours up to and including last, and calls f
// with each of them.
func (s *schedule) takeUntil(last uint32, f func(number uint32)) {
	first := s.next
	s.next = max(s.next, last+1) // before the loop, because f may add entries
	for hour := first; hour <= last; hour++ {
		due := s.hours[hour]
		delete(s.hours, hour)
		for _, number := range due {
			f(number)
		}
	}
}
