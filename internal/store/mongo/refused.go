package mongo

import (
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	core "go.mongodb.org/mongo-driver/x/mongo/driver"

	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/store"
)

// maxDocument is the size of the largest document that a server takes.
const maxDocument = 16 << 20

// encode returns a document in its stored form. The error is of store.Refuse.
func encode(id string, doc any) (bson.Raw, error) {
	if id == "" {
		return nil, store.Refuse(id, errors.New("its id is empty"))
	}
	var raw []byte
	err := guard.Do(func() (err error) { raw, err = bson.Marshal(doc); return err })
	switch {
	case err != nil:
		return nil, store.Refuse(id, err)
	case len(raw) > maxDocument:
		return nil, store.Refuse(id, fmt.Errorf("it has %d bytes, a document at most %d", len(raw), maxDocument))
	}
	return raw, nil
}

// forGood are the codes of the errors with which a server refuses a document for its
// content. A validator of the collection (121) is not among them: its operator changes
// it for all documents, not the documents.
var forGood = []int{
	2,     // BadValue
	9,     // FailedToParse
	14,    // TypeMismatch
	22,    // InvalidBSON
	52,    // DollarPrefixedFieldName
	56,    // EmptyFieldName
	57,    // DottedFieldName
	10334, // BSONObjectTooLarge
	17280, // KeyTooLong
	17419, // the resulting document is too large
	17420, // likewise
}

// isForGood reports whether the server refuses a document for its content. Of a batch,
// it may be any of them.
func isForGood(err error) bool {
	if errors.Is(err, core.ErrDocumentTooLarge) {
		return true
	}
	var server driver.ServerError
	if !errors.As(err, &server) {
		return false
	}
	for _, code := range forGood {
		if server.HasErrorCode(code) {
			return true
		}
	}
	return server.HasErrorCode(codeDuplicateKey) && breaksUniqueIndex(server)
}

// breaksUniqueIndex reports whether a duplicate key is not that of the _id but of an
// index that somebody has added.
func breaksUniqueIndex(err error) bool {
	_, index, named := strings.Cut(err.Error(), "index: ")
	return named && !strings.HasPrefix(index, "_id_")
}
