package aggregator

// hourLength is in milliseconds.
const hourLength = 3600 * 1000

// calendar says in which hour windows of which customers are to be looked at.
// An entry may be out of date by then: it only says where to look. Looking at
// every customer instead, as often as one window in a million ends, took more
// time than everything else.
type calendar struct {
	hours map[uint32][]uint32 // numbers of customers
	next  uint32              // earlier hours are over
}

// add enters a customer at an hour, or at the next one when that is over, and
// returns which it was.
func (c *calendar) add(hour, number uint32) uint32 {
	hour = max(hour, c.next)
	if c.hours == nil {
		c.hours = map[uint32][]uint32{}
	}
	c.hours[hour] = append(c.hours[hour], number)
	return hour
}

// take removes the entries of all hours up to last and hands them to f.
func (c *calendar) take(last uint32, f func(number uint32)) {
	first := c.next
	c.next = max(c.next, last+1) // f may add some
	for hour := first; hour <= last; hour++ {
		due := c.hours[hour]
		delete(c.hours, hour)
		for _, number := range due {
			f(number)
		}
	}
}
