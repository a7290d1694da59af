package permissions

import (
	"strings"

	"github.com/tidegate-io/tidegate/events"
)

// grants collects the subjects that a user may publish and subscribe to.
type grants struct {
	names              events.Names
	publish, subscribe []string
}

// send allows publishing to Tidegate's subjects.
func (g *grants) send(subjects ...string) {
	for _, s := range subjects {
		g.publish = append(g.publish, g.names.Subject(s))
	}
}

// hear allows subscribing to Tidegate's subjects.
func (g *grants) hear(subjects ...string) {
	for _, s := range subjects {
		g.subscribe = append(g.subscribe, g.names.Subject(s))
	}
}

// api allows requests to JetStream about a stream.
func (g *grants) api(stream string, kinds ...string) {
	for _, k := range kinds {
		g.publish = append(g.publish, "$JS.API."+k+"."+stream)
	}
}

// ensure allows what makes a stream that is missing.
func (g *grants) ensure(stream string) { g.api(stream, "STREAM.INFO", "STREAM.CREATE") }

// read allows reading a stream. $JS.FC is for watches of buckets. What a stream has lost
// is asked of its leader, which does not answer direct gets only.
func (g *grants) read(streams ...string) {
	for _, s := range streams {
		g.api(s, "STREAM.INFO", "DIRECT.GET", "STREAM.MSG.GET")
		g.api(s+".>", "DIRECT.GET", "CONSUMER.CREATE", "CONSUMER.DELETE", "CONSUMER.INFO", "CONSUMER.MSG.NEXT")
		g.publish = append(g.publish, "$JS.FC."+s+".>")
	}
}

func (g *grants) stream(base string) string { return g.names.Stream(base) }

func (g *grants) bucket(base string) string { return "KV_" + g.names.Bucket(base) }

// put allows writing to a bucket.
func (g *grants) put(base string) {
	g.publish = append(g.publish, "$KV."+g.names.Bucket(base)+".>")
}

// role is what every role needs: the streams that are missing, and who owns what.
func (o Options) role(g *grants) {
	for _, s := range streamNames() {
		g.ensure(g.stream(s))
	}
	for _, b := range o.buckets() {
		g.ensure(g.bucket(b))
	}
	g.read(g.bucket(events.BucketOwners))
	g.send("audit.entry.~config") // that it has taken a configuration over
	g.api(g.stream(events.StreamAudit), "STREAM.MSG.GET")
	g.publish = append(g.publish, "$JS.API.INFO") // before a bucket with TTLs is made
	if o.Store {
		for _, b := range o.buckets()[2:] {
			g.read(g.bucket(b))
			g.put(b)
			g.api(g.bucket(b), "STREAM.UPDATE", "STREAM.PURGE")
		}
	}
}

// owner is what a role needs that owns partitions, in STATE under these names.
func (o Options) owner(g *grants, names ...string) {
	g.read(g.stream(events.StreamState), g.stream(events.StreamDead))
	g.api(g.stream(events.StreamState), "STREAM.PURGE")
	g.put(events.BucketOwners)
	g.send("dead.*")
	for _, n := range names {
		g.send("state." + n + ".>")
		g.hear("query." + n + ".>")
	}
	for _, kind := range []string{RoleAll, Ingest, Enforcer, Operator} { // who ask
		g.publish = append(g.publish, Inbox(o.Names, kind)+".>")
	}
}

// ingest takes usage and changes of customers, asks owners, and shows decisions.
func (o Options) ingest(g *grants) {
	g.send("usage.p.*."+events.BatchToken, "account.*", "billing.stripe", "billing.map", "query.>", "audit.>")
	g.read(g.bucket(events.BucketDecisions), g.stream(events.StreamAudit))
	g.api(g.stream(events.StreamAudit), "STREAM.PURGE") // erases personal data
	g.hear("decisions.>")
}

// aggregator counts.
func (o Options) aggregator(g *grants) {
	o.owner(g, Aggregator)
	o.moves(g)
	g.read(g.stream(events.StreamUsage), g.stream(events.StreamSeen))
	g.api(g.stream(events.StreamSeen), "STREAM.MSG.DELETE")
	g.send("seen.*", "windows.*", "usage.p.*."+events.ControlToken)
}

// enforcer decides, and folds what Stripe says.
func (o Options) enforcer(g *grants) {
	o.owner(g, Enforcer, "billing", "stripe")
	o.moves(g)
	g.read(g.stream(events.StreamWindows), g.stream(events.StreamAccount), g.stream(events.StreamBilling), g.bucket(events.BucketDecisions))
	g.put(events.BucketDecisions)
	g.send("limits.*", "account.*", "billing.stripe", "billing.fetched", "usage.p.*."+events.ControlToken, "query."+Aggregator+".>")
}

// notifier mails.
func (o Options) notifier(g *grants) {
	o.owner(g, Notifier)
	g.read(g.stream(events.StreamLimits), g.stream(events.StreamAccount), g.bucket(events.BucketDecisions))
}

// moves allows giving streams of a former version the present subjects.
func (o Options) moves(g *grants) {
	for _, s := range streamNames() {
		g.api(g.stream(s), "STREAM.UPDATE")
	}
	g.api(g.bucket(events.BucketDecisions), "STREAM.UPDATE")
}

// operator reads everything, imports history, asks owners, and repairs what Stripe says.
func (o Options) operator(g *grants) {
	for _, s := range streamNames() {
		g.read(g.stream(s))
	}
	for _, b := range o.buckets() {
		g.read(g.bucket(b))
	}
	g.publish = append(g.publish, "$JS.API.INFO")
	g.send("usage.p.*."+events.ImportToken, "query.>", "billing.fetched", "state.stripe-sync.>")
	g.api(g.stream(events.StreamState), "STREAM.PURGE")
	g.publish = append(g.publish, "$KV."+o.Names.Bucket(events.BucketOwners)+".log.>") // accepts that logs are lost
}

// backup reads all streams as a whole and makes them from copies: whoever has it has
// everything.
func (o Options) backup(g *grants) {
	for _, s := range streamNames() {
		g.api(g.stream(s), "STREAM.INFO", "STREAM.SNAPSHOT", "STREAM.RESTORE")
		for _, kind := range []string{"ACK", "RESTORE"} {
			g.publish = append(g.publish, "$JS.SNAPSHOT."+kind+"."+g.stream(s)+".>")
		}
	}
	g.read(g.stream(events.StreamState))
	for _, b := range (Options{Names: o.Names, Store: true}).buckets() {
		g.api(g.bucket(b), "STREAM.INFO")
		if o.Store && strings.HasPrefix(b, "store_") {
			g.read(g.bucket(b))
			g.put(b)
			g.ensure(g.bucket(b))
		}
	}
	g.publish = append(g.publish, "$JS.API.INFO")
}

// reporter reports usage.
func (o Options) reporter(g *grants) { g.send("usage.in.*") }

// app is what the Go client does.
func (o Options) app(g *grants) {
	g.send("usage.in.*", "usage.p.*."+events.BatchToken, "account.in.*")
	g.api(g.bucket(events.BucketDecisions), "DIRECT.GET")
	g.hear("decisions.>")
}
