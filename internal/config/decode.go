package config

import (
	"strings"
	"time"
)

const (
	maxPartitions = 1024
	maxNamespace  = 64

	longestConversion = 365 * day
)

// config reads the top level. It reads all sections, also after problems, to find all
// problems at once.
func (d *decoder) config(top field) *Config {
	if len(d.problems) > 0 {
		return nil
	}
	o := top.object("")
	if top.null() {
		top.fail("%s", emptyFile)
	}
	if len(o.names) == 0 && len(d.problems) > 0 {
		return nil
	}
	c := &Config{
		Namespace:  o.get("namespace").namespace(),
		PublicURL:  strings.TrimRight(o.get("public_url").publicURL(), "/"),
		From:       o.get("from").address(DefaultFrom),
		Upgrade:    upgrade(o.get("upgrade").object("upgrade")),
		Stripe:     stripe(o.get("stripe").object("stripe")),
		Decisions:  decisions(o.get("decisions").object("decisions")),
		Mail:       mails(o.get("mail").object("mail")),
		Conversion: conversion(o.get("conversions").object("conversions")),
		HTTP:       httpBounds(o.get("http").object("http")),
		Partitions: o.get("partitions").integer(1, maxPartitions),
		Plans:      plans(o.get("plans")),
	}
	c.Gates = d.gates(o.get("gates"), c.Plans)
	before := len(d.problems)
	retention := o.get("retention").object("retention")
	usage, horizon, audit := retention.get("usage"), retention.get("horizon"), retention.get("audit")
	c.Retention = Retention{Usage: usage.duration(DefaultUsage), Horizon: horizon.duration(DefaultHorizon), Audit: audit.duration(DefaultAudit)}
	if len(d.problems) == before {
		d.checkRetention(c.Retention, usage, horizon, audit)
	}
	return c
}

// IsNamespace reports whether s can be a namespace.
func IsNamespace(s string) bool { return wordOf(s) && len(s) <= maxNamespace }

func (f field) namespace() string {
	v, ok := f.text("text of letters, digits, _ and -")
	if !ok {
		return ""
	}
	if !IsNamespace(v) {
		f.fail("%s is not allowed: at most %d letters, digits, _ and -", quote(v), maxNamespace)
		return ""
	}
	return v
}

// wordOf reports whether v has only letters, digits, _ and -.
func wordOf(v string) bool {
	for _, r := range v {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-') {
			return false
		}
	}
	return true
}

func (f field) publicURL() string {
	v := f.url()
	if strings.ContainsAny(v, "?#") {
		f.fail("%s must not have a query or fragment: links are made by adding a path", quote(v))
		return ""
	}
	return v
}

func upgrade(o object) Upgrade {
	u := Upgrade{
		URL:        o.get("url").url(),
		SuccessURL: o.get("success_url").url(),
		CancelURL:  o.get("cancel_url").url(),
		Portal:     o.get("portal").boolean(),
	}
	u.Price, _ = o.get("price").name("a Stripe price id or lookup key", maxStripeID)
	return u
}

func stripe(o object) Stripe {
	s := Stripe{CustomerKey: DefaultCustomerKey, Grace: o.get("grace").duration(DefaultGrace), Reconcile: o.get("reconcile").duration(DefaultReconcile)}
	if s.Reconcile != 0 && s.Reconcile < time.Minute {
		o.get("reconcile").fail("%s is too often: at least 1m, or 0s for never", written(s.Reconcile))
	}
	// Stripe allows at most 40 characters and no brackets in metadata keys.
	if k, ok := o.get("customer_key").name("the key of Stripe metadata that holds your customer id", 40); ok {
		if s.CustomerKey = k; strings.ContainsAny(k, "[]") {
			o.get("customer_key").fail("%s must not contain [ or ]: Stripe does not allow them in metadata keys", quote(k))
		}
	}
	return s
}

func decisions(o object) Decisions {
	d := Decisions{Compare: o.get("compare").duration(DefaultCompare)}
	if d.Compare < 10*time.Second {
		o.get("compare").fail("%s is too often: at least 10s", written(d.Compare))
	}
	return d
}

func mails(o object) Mail {
	m := Mail{CoolDown: o.get("cool_down").duration(DefaultCoolDown)}
	m.Templates, _ = o.get("templates").name("the path of a folder", 1024)
	m.Quiet = quiet(o.get("quiet_hours"))
	return m
}

func quiet(f field) *Quiet {
	if !f.given() || f.null() {
		return nil
	}
	o := f.object("mail.quiet_hours")
	q := &Quiet{Zone: time.UTC}
	from, fromOK := o.get("from").timeOfDay(f, "when they begin")
	to, toOK := o.get("to").timeOfDay(f, "when they end")
	q.From, q.To = from, to
	if fromOK && toOK && from == to {
		o.get("to").fail("is the same as from: quiet hours are part of a day")
	}
	zone := o.get("zone")
	if v, ok := zone.name("a time zone such as Europe/Vienna", 64); ok {
		// Local is another zone on each machine.
		z, err := time.LoadLocation(v)
		if err != nil || v == "Local" {
			zone.fail("%s is not a time zone: use a name of the IANA list, such as Europe/Vienna or UTC", quote(v))
		} else {
			q.Zone = z
		}
	}
	return q
}

func conversion(o object) time.Duration {
	w := o.get("window")
	d := w.duration(DefaultConversion)
	if w.given() && (d < time.Hour || d > longestConversion) {
		w.fail("must be from 1h to 365d")
		return DefaultConversion
	}
	return d
}

// checkRetention checks that usage is kept as long as an event can change it: an
// event may be as late as the horizon, and belong to the longest window.
func (d *decoder) checkRetention(r Retention, usage, horizon, audit field) {
	if r.Audit < day {
		audit.fail("%s is too short: at least 1d", written(r.Audit))
	}
	if r.Horizon < day {
		horizon.fail("%s is too short: at least 1d, so that a retried event is still known", written(r.Horizon))
		return
	}
	least := r.Horizon + d.longest
	if r.Usage >= least {
		return
	}
	at := usage
	for _, other := range []field{horizon, d.longestAt} {
		if !at.given() { // show a line that is in the file
			at = other
		}
	}
	at.fail("usage is kept for %s, but %s are needed: the horizon of %s and the longest window of %s; set retention.usage to %s or more",
		written(r.Usage), written(least), written(r.Horizon), written(d.longest), written(least))
}
