// Package config reads Tidegate's YAML configuration. It reports all mistakes of a
// file at once, each with its line and field. It returns plain Go values and the
// catalog that windows and decisions depend on. The app and the commands call it.
//
// Parse is pure: its arguments are the bytes and the environment. The other
// functions read files. All functions, and the methods of a Config, are safe for
// concurrent use.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/tidegate-io/tidegate/internal/gate"
)

const day = 24 * time.Hour

// The defaults.
const (
	DefaultFile        = "tidegate.yaml"
	DefaultFrom        = "Tidegate <tidegate@localhost>" // for `dev` only: no provider accepts it
	DefaultCustomerKey = "tidegate_customer"
	DefaultGrace       = 7 * day
	DefaultReconcile   = time.Hour
	DefaultCompare     = 5 * time.Minute
	DefaultCoolDown    = 24 * time.Hour
	DefaultConversion  = 30 * day
	DefaultUsage       = 70 * day
	DefaultHorizon     = 32 * day
	DefaultAudit       = 400 * day
	DefaultTemplate    = "upgrade_prompt"
	DefaultMessage     = gate.DefaultMessage
)

// Config is a valid configuration, with defaults filled in.
type Config struct {
	Namespace  string // prefix of streams, subjects and buckets; "" is none
	PublicURL  string // base of the links in mails, without a final slash; "" when not given
	From       string // sender of mails, RFC 5322
	Upgrade    Upgrade
	Stripe     Stripe
	Mail       Mail
	Conversion time.Duration // how long before a payment the limit may have been reached that led to it
	Retention  Retention
	Decisions  Decisions
	HTTP       HTTP
	Partitions int // 0 when not given
	Plans      []Plan
	Gates      []Gate

	source [sha256.Size]byte // of the file's bytes, for Watch
	file   string
	lines  map[string]int // of every key, by its path

	written map[string]Setting
}

// Upgrade says where a customer goes to pay.
type Upgrade struct {
	URL        string // page for a blocked customer
	Price      string // Stripe price id or lookup key for Checkout; "" means URL
	SuccessURL string
	CancelURL  string
	Portal     bool // whether paying customers go to Stripe's billing portal
}

// Stripe says how customers and payments are read.
type Stripe struct {
	CustomerKey string        // metadata key that holds our customer id
	Grace       time.Duration // how long a subscription keeps its plan after a failed payment
	Reconcile   time.Duration // how often Stripe's list of events is compared; 0: never
}

// Mail holds the settings of upgrade mails.
type Mail struct {
	CoolDown  time.Duration // minimum time between two mails to a customer
	Templates string        // folder of the operator's templates; "" means the built-in ones
	Quiet     *Quiet        // nil: mails may go out at any hour
}

// Quiet is the part of a day in which no mail goes out. It may include midnight.
type Quiet struct {
	From, To time.Duration // since midnight; not equal
	Zone     *time.Location
}

// Retention says how long usage is kept, how late an event may come, and how long it
// is kept who changed what.
type Retention struct {
	Usage   time.Duration
	Horizon time.Duration
	Audit   time.Duration
}

// Decisions says how the bucket that apps read is kept right.
type Decisions struct {
	Compare time.Duration // how often all of it is compared with what was decided
}

// Plan is a plan and the Stripe objects that lead to it.
type Plan struct {
	Name            string
	Default         bool // whether it is the plan of customers without a subscription
	AnySubscription bool // whether all prices without another plan lead to it
	Stripe          PlanStripe
}

// PlanStripe lists the Stripe objects that lead to a plan.
type PlanStripe struct {
	LookupKeys []string
	Products   []string
	Prices     []string
}

// Paid reports whether a payment leads to the plan. The default plan is never paid,
// even when a price of 0 leads to it.
func (p *Plan) Paid() bool {
	s := &p.Stripe
	return !p.Default && (p.AnySubscription || len(s.LookupKeys)+len(s.Products)+len(s.Prices) > 0)
}

// Gate is a gate of the catalog with the fields that only the gateway and the
// mailer need. Catalog sets its UpgradeURL.
type Gate struct {
	gate.Gate
	Opinion   string     // the operator's reason for the gate
	EmailFrom *EmailFrom // nil when not given
}

// EmailFrom names the collection that holds customers' e-mail addresses.
type EmailFrom struct {
	Database   string // "": the app's server's default, else Tidegate's
	Collection string
	Key        string // field that holds the customer id
	Field      string // field that holds the address
}

// Parse reads a configuration. env looks up variables; nil means that none is set.
// The error is always an *Errors.
func Parse(data []byte, env func(string) (string, bool)) (*Config, error) {
	return parse(DefaultFile, data, env)
}

// Load reads the configuration file at path. It returns an *Errors for a file with
// mistakes, and the error of os.ReadFile for one that can't be read, such as
// fs.ErrNotExist. A relative folder of mail templates is relative to the file's
// folder.
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return loaded(path, data, env)
}

func loaded(path string, data []byte, env func(string) (string, bool)) (*Config, error) {
	c, err := parse(path, data, env)
	if err != nil {
		return nil, err
	}
	if t := c.Mail.Templates; t != "" && !filepath.IsAbs(t) {
		c.Mail.Templates = filepath.Join(filepath.Dir(path), t)
	}
	return c, nil
}

func parse(file string, data []byte, env func(string) (string, bool)) (*Config, error) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	d := &decoder{env: env, lines: map[string]int{}}
	top := d.document(data)
	c := d.config(top)
	if len(d.problems) > 0 {
		return nil, newErrors(file, d.problems)
	}
	if catalog := c.Catalog(); catalog.Validate() != nil { // or each owner would announce it again and again
		return nil, newErrors(file, []Problem{{Line: 1, Message: catalog.Validate().Error()}})
	}
	c.source, c.file, c.lines, c.written = sha256.Sum256(data), file, d.lines, map[string]Setting{}
	d.collect(c.written, "", top.node)
	return c, nil
}

// Catalog returns the part that windows and decisions depend on. Plans and gates
// keep the order of the file. The catalog shares maps and slices with c.
func (c *Config) Catalog() gate.Catalog {
	cat := gate.Catalog{Plans: make([]gate.Plan, 0, len(c.Plans)), Gates: make([]gate.Gate, 0, len(c.Gates))}
	for i := range c.Plans {
		p := &c.Plans[i]
		cat.Plans = append(cat.Plans, gate.Plan{Name: p.Name, Default: p.Default, Paid: p.Paid()})
	}
	for i := range c.Gates {
		g := c.Gates[i].Gate
		g.UpgradeURL = c.Upgrade.URL
		cat.Gates = append(cat.Gates, g)
	}
	return cat
}

// Digest returns a hash of the catalog. Equal catalogs have equal digests in every
// process.
func (c *Config) Digest() string {
	b, err := json.Marshal(c.Catalog()) // json.Marshal sorts the keys of maps
	if err != nil {
		panic("config: a catalog is always valid JSON: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// longest returns the length of the longest window of a gate. Plan arithmetic counts
// a month as 30 days, but usage must be kept for 31.
func longest(s gate.WindowSpec) time.Duration {
	if s.Kind == gate.Calendar && s.Month {
		return 31 * day
	}
	return s.Length()
}
