// Package config reads Tidegate's YAML configuration. It reports every mistake
// of a file at once, each with its line and field, and turns what is right
// into plain Go values and the catalog that windows and decisions depend on.
//
// Parse is pure: it gets the bytes and the environment. Load and Watch are the
// only ones that touch files.
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

// What applies when the file does not say otherwise.
const (
	DefaultFile        = "tidegate.yaml"
	DefaultFrom        = "Tidegate <tidegate@localhost>" // good for `dev` only: no provider sends it
	DefaultCustomerKey = "tidegate_customer"
	DefaultGrace       = 7 * day
	DefaultReconcile   = time.Hour
	DefaultCoolDown    = 24 * time.Hour
	DefaultConversion  = 30 * day
	DefaultUsage       = 70 * day
	DefaultHorizon     = 32 * day
	DefaultTemplate    = "upgrade_prompt"
	DefaultMessage     = "You've reached the limit of your plan. Upgrade to continue."
)

// Config is a valid configuration, with defaults filled in.
type Config struct {
	Namespace  string // prefix of streams, subjects and buckets; "" is none
	PublicURL  string // base of the links in mails, without a final slash; "" when not given
	From       string // sender of mails, RFC 5322
	Upgrade    Upgrade
	Stripe     Stripe
	Mail       Mail
	Conversion time.Duration // how long before a payment the limit that led to it may have been reached
	Retention  Retention
	Partitions int // 0 when not given
	Plans      []Plan
	Gates      []Gate

	source [sha256.Size]byte // of the bytes it was read from, for Watch
	file   string
	lines  map[string]int // of every key, by its path
}

// Upgrade says where a customer goes to pay.
type Upgrade struct {
	URL        string // page that a blocked customer is sent to
	Price      string // Stripe price id or lookup key for Checkout; "" leads to URL
	SuccessURL string
	CancelURL  string
	Portal     bool // paying customers go to Stripe's billing portal
}

// Stripe says how customers and payments are read.
type Stripe struct {
	CustomerKey string        // metadata key that holds our customer id
	Grace       time.Duration // how long an unpaid subscription keeps its plan
	Reconcile   time.Duration // how often Stripe's events are compared; 0: never
}

// Mail holds the settings of upgrade mails.
type Mail struct {
	CoolDown  time.Duration // least time between two mails to a customer
	Templates string        // folder of the operator's templates; "" takes the built-in ones
	Quiet     *Quiet        // nil: mail goes out at any hour
}

// Quiet are the hours of a day in which no mail goes out; they may pass
// midnight.
type Quiet struct {
	From, To time.Duration // since midnight, different
	Zone     *time.Location
}

// Retention says how long usage is kept and how late an event may come.
type Retention struct {
	Usage   time.Duration
	Horizon time.Duration
}

// Plan is a plan and what leads to it.
type Plan struct {
	Name            string
	Default         bool // of customers without a subscription
	AnySubscription bool // of who pays a price that maps to no other plan
	Stripe          PlanStripe
}

// PlanStripe lists what in Stripe leads to a plan.
type PlanStripe struct {
	LookupKeys []string
	Products   []string
	Prices     []string
}

// Paid says whether a payment leads to the plan. The default plan is never
// paid, even when a price of 0 is mapped to it.
func (p *Plan) Paid() bool {
	s := &p.Stripe
	return !p.Default && (p.AnySubscription || len(s.LookupKeys)+len(s.Products)+len(s.Prices) > 0)
}

// Gate is a gate as the catalog has it, with what only the edge needs. Its
// UpgradeURL is set by Catalog.
type Gate struct {
	gate.Gate
	Opinion   string     // why the gate is there, in the operator's words
	EmailFrom *EmailFrom // nil when not given
}

// EmailFrom names the collection that holds customers' mail addresses.
type EmailFrom struct {
	Database   string // "": the one of Tidegate, or of the app's own server
	Collection string
	Key        string // field that holds the customer id
	Field      string // field that holds the address
}

// Parse reads a configuration. env looks up variables; nil means none is set.
// The error is always an *Errors.
func Parse(data []byte, env func(string) (string, bool)) (*Config, error) {
	return parse(DefaultFile, data, env)
}

// Load reads the configuration file at path. A file with mistakes gives an
// *Errors; one that can't be read gives the error of os.ReadFile, so that
// errors.Is(err, fs.ErrNotExist) tells a missing one. A relative folder of
// mail templates counts from the file's own folder.
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
	c := d.config(d.document(data))
	if len(d.problems) > 0 {
		return nil, newErrors(file, d.problems)
	}
	c.source, c.file, c.lines = sha256.Sum256(data), file, d.lines
	return c, nil
}

// Catalog is the part that windows and decisions depend on. Plans and gates
// keep the order of the file. It shares maps and slices with c.
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

// Digest is a short name of the catalog: equal catalogs have equal digests, in
// every process.
func (c *Config) Digest() string {
	b, err := json.Marshal(c.Catalog()) // maps are written in the order of their keys
	if err != nil {
		panic("config: a catalog is always valid JSON: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// longest is how far back a window can reach; plan arithmetic counts a month
// as 30 days, but the usage of one with 31 must be kept too.
func longest(s gate.WindowSpec) time.Duration {
	if s.Kind == gate.Calendar && s.Month {
		return 31 * day
	}
	return s.Length()
}
