package licenses

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// allowed are the licences that the program may contain, by a phrase of each. All of
// them ask for their text and no more.
var allowed = []struct{ id, phrase string }{
	{"Apache-2.0", "apache license version 2.0"},
	{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy of this software"},
	{"BSD-3-Clause", "may be used to endorse or promote products derived from"},
	{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"},
}

// bsd2 is the beginning of both BSD licences.
const bsd2 = "redistributions of source code must retain the above copyright notice"

// refused names licences that ask for more than their text, or forbid some use.
var refused = regexp.MustCompile(`general public licen[cs]e|mozilla public licen[cs]e|eclipse public licen[cs]e|` +
	`common development and distribution|server side public licen[cs]e|business source licen[cs]e|commons clause|` +
	`european union public licen[cs]e|elastic licen[cs]e|non-?commercial|creative commons`)

var (
	words  = regexp.MustCompile(`[\s*#/]+`)
	notice = regexp.MustCompile(`(?i)^(notice|patents|third-party-notices)\b`)
)

// classify returns the SPDX identifiers of the licences in a file. A notice need have
// none, but nothing that is refused either.
func classify(name, text string) (ids []string, err error) {
	text = strings.ToLower(words.ReplaceAllString(text, " "))
	text = strings.ReplaceAll(text, "license, version", "license version")
	if found := refused.FindString(text); found != "" {
		return nil, fmt.Errorf("names the %s, which the program must not contain", found)
	}
	for _, l := range allowed {
		if strings.Contains(text, l.phrase) {
			ids = append(ids, l.id)
		}
	}
	if strings.Contains(text, bsd2) && !strings.Contains(text, "endorse or promote") {
		ids = append(ids, "BSD-2-Clause")
	}
	if notice.MatchString(name) {
		return nil, nil
	}
	if len(ids) == 0 {
		return nil, errors.New("is none of the licences that are allowed: read it, and extend the list if it asks for its text only")
	}
	return ids, nil
}

func TestClassify(t *testing.T) {
	t.Parallel()
	const mit = "The MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining\na copy of this software and"
	const bsd = "Redistributions of source code must retain the above copyright\n * notice, this list"
	for name, c := range map[string]struct{ file, text, want string }{
		"MIT":             {"LICENSE", mit, "MIT"},
		"two in one":      {"LICENSE", mit + "\nApache License\n  Version 2.0, January 2004", "Apache-2.0 MIT"},
		"as in a header":  {"LICENSE", "Licensed under the Apache License, Version 2.0", "Apache-2.0"},
		"BSD, 2 clauses":  {"LICENSE", bsd, "BSD-2-Clause"},
		"BSD, 3 clauses":  {"LICENSE", bsd + " may be used to endorse or\npromote products derived from this", "BSD-3-Clause"},
		"a notice":        {"NOTICE", "Copyright 2011 Canonical", ""},
		"unknown":         {"LICENSE", "Do what you want.", "error"},
		"copyleft":        {"LICENSE", "GNU LESSER\nGENERAL PUBLIC LICENSE", "error"},
		"MIT and another": {"LICENSE", mit + "\nMozilla Public License Version 2.0", "error"},
		"in a notice":     {"THIRD-PARTY-NOTICES", "under the Server Side Public License", "error"},
		"for some uses":   {"LICENSE", mit + "\nCommons Clause", "error"},
	} {
		ids, err := classify(c.file, c.text)
		got := strings.Join(ids, " ")
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
