package app

import (
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/buildinfo"
	"github.com/tidegate-io/tidegate/internal/httpserver"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// Settings say what runs and where. Every field may be left out.
type Settings struct {
	Roles []string // of this process; none: AllRoles

	HTTP   string // HOST:PORT of the API, with the role ingest; "": a free port of 127.0.0.1
	Public string // HOST:PORT of a listener for webhooks and links only; "": none
	Probes string // HOST:PORT of a listener for probes and metrics only; "": none

	TLSCert  string              // file of the certificate of HTTP and Public; "": they speak plain HTTP
	TLSKey   string              // file of its key
	Timeouts httpserver.Timeouts // of all listeners; zero: the defaults

	NATS         string        // URL of the servers; "": Start brings one, for development
	NATSOptions  []nats.Option // who connects
	EmbeddedNATS string        // HOST:PORT of the server that Start brings; "": a free port of 127.0.0.1
	NATSToken    string        // that the server that Start brings asks for; "": none
	Data         string        // folder; "": with an embedded server, a temporary one that Stop removes

	Replicas      int   // of streams that are made
	UsageBytes    int64 // space of the stream USAGE; 0: unlimited, or half of the embedded server's
	SnapshotBytes int   // growth of a log before it is summed up; 0: 1 MiB

	MongoURI      string // "": documents are kept in NATS
	MongoDatabase string
	MongoBulk     int    // documents a command; 0: the store's default
	AppMongoURI   string // of the app's own database, where `email_from` reads; "": MongoURI

	StripeSecrets []string  // of its webhooks; an embedded server's Tidegate makes one
	StripeMode    fold.Mode // of which webhooks are taken; "": of either
	StripeKey     string    // "": nothing is asked of Stripe
	StripeBase    string
	ResendKey     string // "": mails are written to files below Data
	ResendBase    string
	ResendSecrets []string    // of its webhooks
	Keys          ingest.Keys // of the API; none: everybody may use it
	KeysFile      string      // whose edits change Keys; "": none
	Secret        []byte      // signs links; an embedded server's Tidegate makes one
	OldSecrets    [][]byte    // which signed links that are still out

	Config string // file whose edits are applied; "": none
	Build  buildinfo.Info
}

// The roles.
const (
	RoleIngest     = "ingest"
	RoleAggregator = stream.RoleAggregator
	RoleEnforcer   = stream.RoleEnforcer
	RoleNotifier   = stream.RoleNotifier
)

// AllRoles returns every role.
func AllRoles() []string { return []string{RoleIngest, RoleAggregator, RoleEnforcer, RoleNotifier} }

func (s *Settings) has(role string) bool { return slices.Contains(s.Roles, role) }

// withDefaults fills in what can be known before anything runs.
func (s Settings) withDefaults() Settings {
	if len(s.Roles) == 0 {
		s.Roles = AllRoles()
	}
	if !s.has(RoleIngest) {
		s.HTTP, s.Public = "", ""
	} else if s.HTTP == "" {
		s.HTTP = "127.0.0.1:0"
	}
	if s.EmbeddedNATS == "" {
		s.EmbeddedNATS = "127.0.0.1:-1"
	}
	if s.Build == (buildinfo.Info{}) {
		s.Build = buildinfo.Read("", "")
	}
	return s
}
