package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/misuse"
)

// Names are what Tidegate calls the parts of an event or a customer.
type Names struct {
	all   []string
	alias map[string]string // other names that some have
	data  bool              // others are members of data
}

// The names of events and of customers.
var (
	EventNames    = Names{[]string{"id", "source", "type", "subject", "time"}, map[string]string{"customer": "subject"}, true}
	CustomerNames = Names{[]string{"id", "email", "stripe_customer", "anchor", "plan", "locale", "overrides"},
		map[string]string{"customer": "id", "subject": "id"}, false}
)

// Mapping says under which names a source has what Tidegate calls otherwise.
type Mapping struct {
	Names
	from  map[string]string // Tidegate's name → the source's
	data  map[string]string // path in data → the source's name
	taken map[string]bool   // names of the source that are mapped
	meant map[string]bool   // paths in data that meters read
}

// ParseMapping reads NAME=COLUMN pairs. The paths in meant, which meters read, can
// be named without the prefix "data.". Its errors are of the type misuse.Error.
func ParseMapping(pairs []string, n Names, meant ...string) (*Mapping, error) {
	m := &Mapping{Names: n, from: map[string]string{}, data: map[string]string{}, taken: map[string]bool{}, meant: map[string]bool{}}
	for _, path := range meant {
		m.meant[path] = true
	}
	for _, pair := range pairs {
		name, from, ok := strings.Cut(pair, "=")
		name, from = strings.TrimSpace(name), strings.TrimSpace(from)
		if !ok || name == "" || from == "" {
			return nil, misuse.Errorf("--map %q is not NAME=COLUMN, such as customer=user_id", pair)
		}
		to := m.from
		path, isData := m.path(name)
		if isData {
			name, to = path, m.data
		} else if other, ok := n.alias[name]; ok {
			name = other
		}
		if !isData && !slices.Contains(n.all, name) {
			return nil, misuse.Errorf("--map %q: Tidegate has no %q, it has %s: write Tidegate's name first, then the source's", pair, name, m.known())
		}
		if to[name] != "" {
			return nil, misuse.Errorf("--map names %q twice: leave %s=%s or %s=%s away", name, name, to[name], name, from)
		}
		to[name], m.taken[from] = from, true
	}
	return m, nil
}

// path is that of a name in data.
func (m *Mapping) path(name string) (path string, ok bool) {
	if !m.Names.data {
		return "", false
	}
	for _, prefix := range []string{"data.", "$."} {
		if path, ok = strings.CutPrefix(name, prefix); ok && path != "" && !slices.Contains(strings.Split(path, "."), "") {
			return path, true
		}
	}
	return name, m.meant[name] && !slices.Contains(m.all, name) && m.alias[name] == ""
}

// known lists what can stand before the equals sign.
func (m *Mapping) known() string {
	list := slices.Concat(slices.Sorted(maps.Keys(m.alias)), m.all)
	if m.Names.data {
		for _, path := range slices.Sorted(maps.Keys(m.meant)) {
			list = append(list, "data."+path)
		}
		if len(m.meant) == 0 {
			list = append(list, "data.NAME")
		}
	}
	return strings.Join(list, ", ")
}

// plain says that nothing is renamed.
func (m *Mapping) plain() bool { return len(m.taken) == 0 }

// Columns returns an error if a mapped column is not in the first line of a CSV.
func (m *Mapping) Columns(head []string) error {
	for _, from := range slices.Sorted(maps.Keys(m.taken)) {
		if !slices.Contains(head, from) {
			return misuse.Errorf("--map names the column %q, which is not there: the columns are %s", from, strings.Join(head, ", "))
		}
	}
	return nil
}

// Unused returns the columns that nothing is made of.
func (m *Mapping) Unused(head []string) (list []string) {
	for _, name := range head {
		if !m.taken[name] && !slices.Contains(m.all, name) && m.alias[name] == "" {
			list = append(list, name)
		}
	}
	return list
}

// fields are the first-level names of a source that can be of use.
func (m *Mapping) fields() []string {
	wanted := map[string]bool{"_id": true}
	for _, list := range [][]string{m.all, slices.Collect(maps.Keys(m.alias)), slices.Collect(maps.Keys(m.taken)), slices.Collect(maps.Keys(m.meant))} {
		for _, name := range list {
			first, _, _ := strings.Cut(name, ".")
			wanted[first] = true
		}
	}
	if m.Names.data {
		wanted["data"] = true
	}
	return slices.Sorted(maps.Keys(wanted))
}

// named is the record by Tidegate's names. A name that is mapped to something
// else is not looked at: what the source calls so is another thing.
func (m *Mapping) named(fields map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, alias := range slices.Sorted(maps.Keys(m.alias)) {
		name := m.alias[alias]
		if v := fields[alias]; present(v) && !m.taken[alias] && m.from[name] == "" {
			out[name] = text(v)
		}
	}
	for _, name := range m.all {
		from := m.from[name]
		if from == "" {
			if v := fields[name]; present(v) && !m.taken[name] {
				out[name] = text(v)
			}
			continue
		}
		if v := at(fields, from); present(v) {
			out[name] = text(v)
		} else if name == "subject" || name == "time" || name == "id" && !m.Names.data { // without it there is nothing
			return nil, fmt.Errorf("`%s` is missing: there is nothing in %q, which --map names for it", name, from)
		}
	}
	return out, nil
}

// setData puts into out what an event's data is made of: the source's own
// data, the values that meters read, and what is mapped; of a CSV also every
// other column.
func (m *Mapping) setData(out, fields map[string]any, csv bool) error {
	data := map[string]any{}
	if csv {
		for name, v := range fields {
			if !m.taken[name] && !slices.Contains(m.all, name) && m.alias[name] == "" {
				data[name] = cell(v)
			}
		}
	} else if own := fields["data"]; own != nil && !m.taken["data"] {
		object, ok := own.(map[string]any)
		if !ok {
			return errors.New("`data` is not an object: name what holds the value, such as --map data.tokens=data")
		}
		data = maps.Clone(object)
	}
	for path := range m.meant {
		if v := at(fields, path); !csv && present(v) && m.data[path] == "" && at(data, path) == nil {
			put(data, path, v)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(m.data)) {
		if v := at(fields, m.data[path]); present(v) {
			if csv {
				v = cell(v)
			}
			put(data, path, v)
		}
	}
	if len(data) > 0 {
		out["data"] = data
	}
	return nil
}

func present(v any) bool { return v != nil && v != "" }

// at is what stands under a name, or under a path of names with dots.
func at(fields map[string]any, name string) any {
	if v, ok := fields[name]; ok {
		return v
	}
	first, rest, ok := strings.Cut(name, ".")
	if inner, is := fields[first].(map[string]any); ok && is {
		return at(inner, rest)
	}
	return nil
}

// put makes the objects on the path that are not there, and leaves those of the
// source as they are.
func put(data map[string]any, path string, v any) {
	first, rest, ok := strings.Cut(path, ".")
	if !ok {
		data[path] = v
		return
	}
	inner, _ := data[first].(map[string]any)
	if inner = maps.Clone(inner); inner == nil {
		inner = map[string]any{}
	}
	data[first] = inner
	put(inner, rest, v)
}

// text is a number as an id has it.
func text(v any) any {
	if n, ok := v.(json.Number); ok {
		return n.String()
	}
	return v
}

// cell is a number if it reads like one.
func cell(v any) any {
	s, _ := v.(string)
	if _, err := events.RoundValue(s); err == nil && json.Valid([]byte(s)) {
		return json.Number(s)
	}
	return v
}
