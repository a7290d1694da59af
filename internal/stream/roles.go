package stream

// The roles that own partitions, as leases, logs and questions name them.
const (
	RoleAggregator = "aggregator"
	RoleEnforcer   = "enforcer"
	RoleNotifier   = "notifier"
	RoleBilling    = "billing" // folds Stripe's records; part of a process with the role enforcer
	RoleStripe     = "stripe"  // fetches objects from Stripe; part of it too, where there is a key
)
