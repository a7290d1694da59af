package ingest

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Bounds of a request.
const (
	maxBodyBytes    = 8 << 20
	maxBatchEvents  = 10_000
	maxWebhookBytes = 1 << 20

	// bodyTime bounds how long the body of a caller with a key may take to come: the
	// largest one at 1.2 Mbit/s.
	bodyTime = time.Minute
)

// buffers hold bodies while they are read. Large ones go to the garbage collector.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const keptBuffer = 1 << 20

// readBody reads a request's body, unpacked if it is gzip, up to limit bytes.
// free gives the memory back once nothing refers to it.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, free func(), err error) {
	from := io.Reader(http.MaxBytesReader(w, r.Body, limit))
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		zr, err := gzip.NewReader(from)
		if err != nil {
			return nil, nil, bodyError(fmt.Errorf("the body is not gzip: %w", err), limit)
		}
		defer zr.Close()
		from = zr
	default:
		w.Header().Set("Accept-Encoding", "gzip")
		return nil, nil, &problem{Status: http.StatusUnsupportedMediaType, Detail: fmt.Sprintf("Content-Encoding %.40q is not supported: send gzip or none", encoding)}
	}
	holder := buffers.Get().(*[]byte)
	free = func() {
		if cap(*holder) <= keptBuffer {
			buffers.Put(holder)
		}
	}
	*holder, err = readUpTo(from, (*holder)[:0], min(r.ContentLength+1, limit+1), limit)
	if err != nil {
		free()
		return nil, nil, bodyError(err, limit)
	}
	return *holder, free, nil
}

var errTooLarge = errors.New("too large")

func readUpTo(from io.Reader, b []byte, expect, limit int64) ([]byte, error) {
	if int64(cap(b)) < expect {
		b = make([]byte, 0, expect)
	}
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := from.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if int64(len(b)) > limit {
			return b, errTooLarge
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

func bodyError(err error, limit int64) error {
	var tooLarge *http.MaxBytesError
	if errors.Is(err, errTooLarge) || errors.As(err, &tooLarge) {
		return &problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body has more than %d bytes: send it in parts", limit)}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &problem{Status: http.StatusRequestTimeout, Detail: "the body came in too slowly: send it again"}
	}
	return badRequest("the body could not be read: %v", err)
}

// form is the layout of the events in a body.
type form int

const (
	formOne    form = iota // one object
	formArray              // an array of objects
	formLines              // an object a line
	formEither             // one object or an array
)

// formOf reads a Content-Type; without one the body may be an object or an
// array.
func formOf(contentType string) (form, error) {
	if contentType == "" {
		return formEither, nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return 0, badRequest("Content-Type %.80q cannot be read", contentType)
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "us-ascii") {
		return 0, &problem{Status: http.StatusUnsupportedMediaType, Detail: fmt.Sprintf("charset %.40q is not supported: send UTF-8", charset)}
	}
	switch media {
	case "application/cloudevents+json":
		return formOne, nil
	case "application/cloudevents-batch+json":
		return formArray, nil
	case "application/json":
		return formEither, nil
	case "application/x-ndjson", "application/ndjson", "application/jsonl":
		return formLines, nil
	}
	return 0, &problem{Status: http.StatusUnsupportedMediaType, Detail: fmt.Sprintf("Content-Type %.80q is not supported: send application/json, "+
		"application/cloudevents+json, application/cloudevents-batch+json or application/x-ndjson", media)}
}
