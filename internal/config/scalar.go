package config

import (
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// scalar reads a single value and expands its variables. quoted reports whether it
// can only be text: it is in quotes and has no variable.
func (f field) scalar(want string) (value string, quoted, ok bool) {
	if !f.given() {
		return "", false, false
	}
	if f.null() {
		f.fail("is empty: it must be %s, or leave the key out", want)
		return "", false, false
	}
	if f.node.Kind != yaml.ScalarNode {
		f.fail("must be %s, not %s", want, kind(f.node))
		return "", false, false
	}
	if tag := f.node.ShortTag(); !slices.Contains(plainTags, tag) {
		f.fail("must be %s, not a value tagged %s", want, clip(tag))
		return "", false, false
	}
	value, changed, err := expand(f.node.Value, f.d.env)
	if err != nil {
		f.fail("%v", err)
		return "", false, false
	}
	return value, !changed && f.node.ShortTag() == "!!str" && isQuoted(f.node), true
}

// plainTags are the types that YAML gives to untagged values.
var plainTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!merge"}

func isQuoted(n *yaml.Node) bool {
	return n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// text reads any text. It refuses a number or boolean without quotes: the author has
// to say whether 1.10 means 1.1.
func (f field) text(want string) (string, bool) {
	v, _, ok := f.scalar(want)
	if !ok {
		return "", false
	}
	switch f.node.ShortTag() {
	case "!!int", "!!float", "!!bool":
		f.fail("must be %s, not %s: text that looks so needs quotes, %s", want, kind(f.node), quote(f.node.Value))
		return "", false
	}
	return v, true
}

// name reads text of 1 to most bytes without control characters.
func (f field) name(want string, most int) (string, bool) {
	v, ok := f.text(want)
	if !ok {
		return "", false
	}
	if problem := badName(v, most); problem != "" {
		f.fail("%s", problem)
		return "", false
	}
	return v, true
}

func badName(v string, most int) string {
	switch {
	case v == "":
		return "must not be empty"
	case len(v) > most:
		return "has " + strconv.Itoa(len(v)) + " bytes, at most " + strconv.Itoa(most) + " are allowed"
	case strings.ContainsFunc(v, unicode.IsControl):
		return "must not contain control characters such as line breaks"
	}
	return ""
}

// oneOf reads one of the words. The first is the default.
func (f field) oneOf(words ...string) string {
	w, _ := f.choice(words...)
	return w
}

// choice is oneOf. It also reports whether there was no problem.
func (f field) choice(words ...string) (string, bool) {
	if !f.given() {
		return words[0], true
	}
	v, ok := f.text("one of " + strings.Join(words, ", "))
	switch {
	case !ok:
		return words[0], false
	case slices.Contains(words, v):
		return v, true
	}
	if best := nearest(v, words); best != "" && len(words) > 1 {
		f.fail("%s is none of %s: did you mean %s?", quote(v), strings.Join(words, ", "), best)
	} else {
		f.fail("%s is not allowed: it must be %s", quote(v), strings.Join(words, ", "))
	}
	return words[0], false
}

func (f field) boolean() bool {
	v, quoted, ok := f.scalar("true or false")
	if !ok {
		return false
	}
	if !quoted && (v == "true" || v == "false") {
		return v == "true"
	}
	f.fail("must be true or false (without quotes), not %s", quote(v))
	return false
}

func (f field) integer(least, most int) int {
	want := "a whole number from " + strconv.Itoa(least) + " to " + strconv.Itoa(most)
	v, quoted, ok := f.scalar(want)
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || quoted || n < least || n > most || strconv.Itoa(n) != v {
		f.fail("must be %s, not %s", want, quote(v))
		return 0
	}
	return n
}

var durationForm = regexp.MustCompile(`^(?:([0-9]{1,5})d)?([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?$`)

const maxDuration = 36500 * day

// duration reads 70d, 24h, 1d12h, 90m, 0s.
func (f field) duration(def time.Duration) time.Duration {
	const want = "a duration such as 7d, 24h or 90m"
	v, _, ok := f.scalar(want)
	if !ok {
		return def
	}
	m := durationForm.FindStringSubmatch(v)
	if m == nil || v == "" {
		if _, err := strconv.ParseFloat(v, 64); err == nil {
			f.fail("%s has no unit: write a whole number with d, h, m or s, such as 7d or 24h", quote(v))
		} else {
			f.fail("%s is not %s: whole numbers with d, h, m, s, in this order", quote(v), want)
		}
		return def
	}
	days, _ := strconv.Atoi("0" + m[1])
	rest, err := time.ParseDuration("0s" + m[2] + m[3] + m[4])
	if err != nil || rest > maxDuration || time.Duration(days)*day+rest > maxDuration {
		f.fail("%s is longer than 36500d, which is the longest", quote(v))
		return def
	}
	return time.Duration(days)*day + rest
}

var timeOfDayForm = regexp.MustCompile(`^([01]?[0-9]|2[0-3]):([0-5][0-9])$`)

// timeOfDay reads 22:00 or 7:30. The field is required in the mapping of.
func (f field) timeOfDay(of field, what string) (time.Duration, bool) {
	if !f.given() {
		if of.node.Kind == yaml.MappingNode {
			f.fail("is missing: %s, such as 22:00", what)
		}
		return 0, false
	}
	v, _, ok := f.scalar("a time of day such as 22:00")
	if !ok {
		return 0, false
	}
	m := timeOfDayForm.FindStringSubmatch(v)
	if m == nil {
		f.fail("%s is not a time of day: write hours and minutes, from 0:00 to 23:59", quote(v))
		return 0, false
	}
	hours, _ := strconv.Atoi(m[1])
	minutes, _ := strconv.Atoi(m[2])
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute, true
}

// written returns a duration in the form of the file.
func written(d time.Duration) string {
	if d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// url reads an absolute web address.
func (f field) url() string {
	v, ok := f.name("a web address such as https://acme.example/pricing", 2048)
	if !ok {
		return ""
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsFunc(v, unicode.IsSpace) {
		f.fail("%s is not a web address: it must begin with https:// or http:// and a host", quote(v))
		return ""
	}
	if u.User != nil {
		f.fail("the address must not hold a user name or password")
		return ""
	}
	return v
}

func (f field) address(def string) string {
	v, ok := f.name("a mail address", 320)
	if !ok {
		return def
	}
	if _, err := mail.ParseAddress(v); err != nil {
		f.fail("%s is not a mail address: write billing@acme.example or \"Acme <billing@acme.example>\"", quote(v))
		return def
	}
	return v
}

// moment reads a point in time in RFC 3339.
func (f field) moment() *time.Time {
	v, ok := f.text("a moment such as 2026-12-01T00:00:00Z")
	if !ok {
		return nil
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil || t.Year() < 1970 {
		f.fail("%s is not a moment in RFC 3339: write date, time and zone, such as 2026-12-01T00:00:00Z", quote(v))
		return nil
	}
	t = t.UTC()
	return &t
}
