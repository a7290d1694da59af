package store

import (
	"errors"
	"fmt"
)

// Refused is a document that a store can never hold: it is too large, has no id or
// one that is too long, has a value or the name of a field that the store's format
// lacks, or breaks a rule of the collection, such as a unique index. A repeated write
// would end in the same way.
type Refused struct {
	ID  string
	Why error
}

// RefusedError is the error of a write that the store refused for good, for some
// documents or all. The others are stored. A write that failed for another reason as
// well returns that one instead.
type RefusedError struct{ Documents []Refused }

// Refuse returns the error for one document.
func Refuse(id string, why error) error { return &RefusedError{[]Refused{{id, why}}} }

// Error implements error. It names no id, because that may be a person's.
func (e *RefusedError) Error() string {
	if len(e.Documents) == 1 {
		return fmt.Sprintf("the store can never hold the document: %v", e.Documents[0].Why)
	}
	return fmt.Sprintf("the store can never hold %d documents, the first because: %v", len(e.Documents), e.Documents[0].Why)
}

// Unwrap returns the reasons.
func (e *RefusedError) Unwrap() []error {
	all := make([]error, len(e.Documents))
	for i := range e.Documents {
		all[i] = e.Documents[i].Why
	}
	return all
}

// IsRefused reports whether err is a RefusedError.
func IsRefused(err error) bool { return errors.As(err, new(*RefusedError)) }

// Collect splits the error of a write of some documents. It adds the refused ones to e
// and returns nil, or returns any other error.
func (e *RefusedError) Collect(err error) error {
	var refused *RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	e.Documents = append(e.Documents, refused.Documents...)
	return nil
}

// OrNil returns e, or nil if it has no documents.
func (e *RefusedError) OrNil() error {
	if len(e.Documents) == 0 {
		return nil
	}
	return e
}
