package app

// Bound bounds the new customers of a running Tidegate, as an edit of its
// configuration does.
func Bound(a *App, newCustomers int) {
	c := *a.config.Load()
	c.HTTP.NewCustomersPerHour = newCustomers
	a.setConfig(&c)
}
