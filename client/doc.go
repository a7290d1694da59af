// Package client is what Go apps import to be gated by Tidegate: it checks
// whether a customer may use a feature, and records what was used.
//
//	server, err := client.FromEnvironment(os.Getenv) // NATS_URL, NATS_USER, …
//	nc, err := server.Connect()
//	c, err := client.New(nc, client.Source("billing-api"))
//	defer c.Close(ctx)
//
//	mux.Handle("POST /api/features/x", c.Gate("api", customerOf)(handler))
//
// or by hand:
//
//	if d := c.Check("acme", "api"); !d.Allowed {
//		client.Blocked(w, d)
//		return
//	}
//	err = c.Record(ctx, client.Usage{Customer: "acme", Event: "api"})
//
// # Checking
//
// The client follows the decisions and keeps them in memory, so a check is a
// read of local memory: no lock, no allocation, no network. When NATS is away,
// the last known decisions stay in force, and Age says how old they are. New
// never waits for the servers; before the first sync Check allows, or refuses
// what FailClosed names. After a reconnect the watch is made anew, and all
// decisions are replaced at once when the new ones are complete.
//
// Two things end a block without the network: its end in time, and the switch of
// its gate.
//
// # Counting down
//
// A decision is as old as its way through the servers. So the client adds what
// it has recorded itself since, and blocks at the limit before the servers say
// so, also customers of whom there is no decision yet. The number is a lower
// bound of the usage: it never blocks a customer who is within the limit, and
// one process that checks before it records never exceeds the limit, however
// late decisions come. Many processes together may exceed it by the uses in flight
// between them, and so may requests that one process handles at the same moment.
// Meters of the greatest and of unique values are not counted down, nor is anything
// that this version of the client does not know: a reason, a period, an aggregate
// of a newer server.
//
// The client gives up a block that only its own count made when the servers have
// not confirmed it some time after everything was delivered (see ConfirmWithin):
// part of the count was then no usage, such as records that repeat another
// process's.
//
// # Recording
//
// Record puts an event into a buffer and returns. Events of one partition that
// meet there share a message: an idle app sends each at once, a busy one sends
// few large messages. Each is published again with the same ids until JetStream
// acknowledges it, through restarts of the broker; the servers count it once.
// An accepted event is lost only with the process: Close delivers it, and
// RecordAck returns after the acknowledgement. The buffer is bounded (Buffer);
// when it is full, Record waits until its context ends. Events wait in it until
// the first sync, which tells the number of partitions.
//
// # Over HTTP
//
// NewHTTP is for apps that cannot reach NATS: it follows Tidegate's HTTP address
// for decisions and posts usage there. The rest is the same.
//
// # Permissions
//
// An app needs a NATS user that may publish to usage.p.*.~batch, account.in.* (for
// Identify) and $JS.API.DIRECT.GET.KV_decisions, and subscribe to decisions.> and its
// inbox (NATS_INBOX_PREFIX). With a namespace ns these are ns.usage.…, KV_ns_decisions
// and so on. `tidegate nats-permissions` prints such users. A permission that is missing
// shows as a time-out, here, and as an error in the connection's nats.ErrorHandler.
//
// # Switching it off
//
// With TIDEGATE_DISABLED=1 in the environment a client allows everything,
// records nothing and connects to nothing. For tests there is the package
// clienttest.
package client
