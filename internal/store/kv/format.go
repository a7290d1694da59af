package kv

import (
	"bytes"
	"encoding/json"

	"github.com/tidegate-io/tidegate/events"
)

// newestFormat is the newest format of documents that this version reads. Without a
// number they are of the first.
const newestFormat = 1

// checkFormat returns a events.ErrFormat for a document of a newer version.
func checkFormat(value []byte) error {
	if !bytes.Contains(value, []byte(`"format":`)) {
		return nil
	}
	var v struct {
		Format uint64 `json:"format"`
	}
	if json.Unmarshal(value, &v) != nil {
		return nil // the document's own decoder says what is wrong
	}
	return events.CheckFormat("the document", v.Format, newestFormat)
}
