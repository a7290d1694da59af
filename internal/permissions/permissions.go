// Package permissions says what each kind of NATS user may do, in one table, and writes
// it as configuration of a NATS server.
//
// Apps have an account of their own, because permissions alone do not hold them: whoever
// may send a request also chooses the subject of its answer, and the server publishes
// there, whatever the user may publish. In an account with Tidegate's streams an answer
// would be stored in any of them. In the account of apps there are none; it imports the
// few subjects that apps need.
package permissions

import (
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/events"
)

// Options say for which installation users are described.
type Options struct {
	Names events.Names
	Store bool // documents are kept in NATS, not in MongoDB
}

// User is what one kind of user may do.
type User struct {
	Name      string   `json:"user"`
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
}

// Account is a space of subjects of its own.
type Account struct {
	Name     string    `json:"account"`
	Streams  bool      `json:"jetstream"`
	Users    []User    `json:"users"`
	Services []Service `json:"services,omitempty"` // that the other account imports
	Messages []string  `json:"messages,omitempty"` // that the other account may subscribe to
}

// Service is a subject on which apps send requests to the account with the streams.
type Service struct {
	Subject string `json:"subject"`
	Many    bool   `json:"many,omitempty"` // a request has many answers
}

// The kinds of users. Each role has one, and all roles in one process have RoleAll.
const (
	RoleAll    = "tidegate"
	Ingest     = "ingest"
	Aggregator = "aggregator"
	Enforcer   = "enforcer"
	Notifier   = "notifier"
	Operator   = "operator" // the commands
	Backup     = "backup"   // tidegate backup and restore
	App        = "app"      // reports usage, identifies customers and reads decisions
	Reporter   = "reporter" // only reports usage
)

// Kinds returns the kinds of users, those of apps last.
func Kinds() []string {
	return []string{RoleAll, Ingest, Aggregator, Enforcer, Notifier, Operator, Backup, App, Reporter}
}

// UserName returns the name of a kind of user in an installation.
func UserName(n events.Names, kind string) string {
	if n.Namespace == "" {
		return kind
	}
	return n.Namespace + "-" + kind
}

// Inbox returns the prefix of the subjects on which a user gets answers.
func Inbox(n events.Names, kind string) string { return "_INBOX_" + UserName(n, kind) }

// streamNames returns the names of all streams.
func streamNames() []string {
	return []string{events.StreamUsage, events.StreamState, events.StreamSeen, events.StreamWindows, events.StreamBilling,
		events.StreamAccount, events.StreamLimits, events.StreamDead, events.StreamAudit}
}

// buckets returns the names of all buckets.
func (o Options) buckets() []string {
	list := []string{events.BucketDecisions, events.BucketOwners}
	if o.Store {
		list = append(list, "store_usage", "store_customers", "store_subscriptions", "store_notifications", "store_conversions")
	}
	return list
}

// Of returns what a user of the kind may do; false if there is no such kind.
func (o Options) Of(kind string) (User, bool) {
	g := grants{names: o.Names}
	switch kind {
	case RoleAll:
		o.role(&g)
		o.ingest(&g)
		o.aggregator(&g)
		o.enforcer(&g)
		o.notifier(&g)
	case Ingest:
		o.role(&g)
		o.ingest(&g)
	case Aggregator:
		o.role(&g)
		o.aggregator(&g)
	case Enforcer:
		o.role(&g)
		o.enforcer(&g)
	case Notifier:
		o.role(&g)
		o.notifier(&g)
	case Operator:
		o.operator(&g)
	case Backup:
		o.backup(&g)
	case App:
		o.app(&g)
	case Reporter:
		o.reporter(&g)
	default:
		return User{}, false
	}
	g.subscribe = append(g.subscribe, Inbox(o.Names, kind)+".>")
	return User{Name: UserName(o.Names, kind), Publish: sorted(g.publish), Subscribe: sorted(g.subscribe)}, true
}

func sorted(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// Accounts returns both accounts with the named kinds of users, or with all.
func (o Options) Accounts(kinds ...string) []Account {
	suffix := ""
	if o.Names.Namespace != "" {
		suffix = "_" + o.Names.Namespace
	}
	own, apps := Account{Name: "TIDEGATE" + suffix, Streams: true}, Account{Name: "APPS" + suffix}
	for _, kind := range Kinds() {
		if len(kinds) > 0 && !slices.Contains(kinds, kind) {
			continue
		}
		u, _ := o.Of(kind)
		if kind == App || kind == Reporter {
			apps.Users = append(apps.Users, u)
		} else {
			own.Users = append(own.Users, u)
		}
	}
	g := grants{names: o.Names}
	o.app(&g)
	o.reporter(&g)
	for _, s := range sorted(g.publish) {
		own.Services = append(own.Services, Service{s, strings.HasPrefix(s, "$JS.API.DIRECT.GET.")})
	}
	own.Messages = sorted(g.subscribe)
	return []Account{own, apps}
}
