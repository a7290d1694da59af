// Package strict reads JSON of which every part must be understood: what a reader
// would pass over or take for something else is an error.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate/events"
)

// Unmarshal reads one JSON value into a pointer. It returns an error, in words for
// the sender, for a member that the type does not have, a member of the outermost
// object in capital letters (encoding/json would take `EMAIL` for `email`), a member
// that stands twice in its object, half of a surrogate pair, bytes that are not UTF-8,
// and whatever follows the value. The names of the type's own members are in small
// letters.
func Unmarshal(b []byte, into any) error {
	if !utf8.Valid(b) {
		return errors.New("not valid UTF-8")
	}
	if string(bytes.TrimSpace(b)) == "null" {
		return errors.New("a JSON object is needed, not null")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return inWords(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is more than one JSON value")
	}
	return check(b, func(name string) error {
		if name != strings.ToLower(name) {
			return fmt.Errorf("`%.80s` is not known: names are in small letters", name)
		}
		return nil
	})
}

// Check returns an error for valid JSON in which a member stands twice in its object,
// or which has half of a surrogate pair.
func Check(valid []byte) error {
	return check(valid, anyName)
}

// check is Check, and asks outermost about each name in the outermost object.
func check(valid []byte, outermost func(name string) error) error {
	if events.LoneSurrogate(valid) {
		return errors.New("it has half of a surrogate pair, which is no text")
	}
	dec := json.NewDecoder(bytes.NewReader(valid))
	dec.UseNumber() // one that no float holds is none of its business
	return checkValue(dec, outermost)
}

func checkValue(dec *json.Decoder, allowed func(string) error) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return checkObject(dec, allowed)
	case json.Delim('['):
		for dec.More() {
			if err := checkValue(dec, anyName); err != nil {
				return err
			}
		}
		_, err = dec.Token() // the bracket
	}
	return err
}

func anyName(string) error { return nil }

func checkObject(dec *json.Decoder, allowed func(string) error) error {
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		if seen[name] {
			return fmt.Errorf("`%.80s` stands twice", name)
		}
		seen[name] = true
		if err := allowed(name); err != nil {
			return err
		}
		if err := checkValue(dec, anyName); err != nil {
			return err
		}
	}
	_, err := dec.Token() // the brace
	return err
}

func inWords(err error) error {
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return fmt.Errorf("`%s` cannot be %s", wrong.Field, wrong.Value)
	case errors.As(err, &wrong):
		return fmt.Errorf("a JSON object is needed, not %s", wrong.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("not JSON: it breaks off")
	}
	text, ofDecoder := strings.CutPrefix(err.Error(), "json: ")
	if ofDecoder && strings.HasPrefix(text, "unknown field") || !ofDecoder && !errors.As(err, new(*json.SyntaxError)) {
		return fmt.Errorf("%.200s", text) // the latter is of the type's own UnmarshalJSON
	}
	return fmt.Errorf("not a valid JSON object: %.200s", text)
}
