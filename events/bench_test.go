package events

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"
)

// event200 is an event of about 200 bytes of JSON.
var event200 = []byte(`{"specversion":"1.0","id":"0197a3c2-5f1e-7b02-9d4c-3b8e2f60a111","source":"billing-api","type":"tokens","subject":"org_8f3a21c9","time":"2026-07-01T12:34:56.789Z","data":{"tokens":812,"model":"large-3"}}`)

func BenchmarkDecode(b *testing.B) {
	b.Run("tidegate", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(event200)))
		for b.Loop() {
			if _, err := Decode(event200); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(event200)))
		for b.Loop() {
			var e struct {
				ID, Source, Type, Subject string
				Time                      time.Time
				Data                      json.RawMessage
			}
			if err := json.Unmarshal(event200, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func packed(n int, data string) []byte {
	var b []byte
	for i := range n {
		e := Event{ID: "0197a3c2-5f1e-7b02-9d4c-" + strconv.Itoa(i), Source: "billing-api", Type: "api",
			Subject: "org_" + strconv.Itoa(i), Time: time.Unix(1_780_000_000, 5e6)}
		if data != "" {
			e.Data = []byte(data)
		}
		b = AppendBatch(b, &e)
	}
	return b
}

func BenchmarkEachInBatch(b *testing.B) {
	for _, c := range []struct{ name, data string }{{"plain", ""}, {"data", `{"tokens":812,"model":"large-3"}`}} {
		b.Run(c.name, func(b *testing.B) {
			const n = 100
			msg := packed(n, c.data)
			b.ReportAllocs()
			b.SetBytes(int64(len(msg)))
			for b.Loop() {
				err := EachInBatch(msg, func(_ int, e Event, _ []byte, err error) {
					if err != nil || e.Type != "api" {
						b.Fatal(e, err)
					}
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
		})
	}
}

func BenchmarkAppendBatch(b *testing.B) {
	e, err := Decode(event200)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("tidegate", func(b *testing.B) {
		buf := make([]byte, 0, 1<<10)
		b.ReportAllocs()
		for b.Loop() {
			buf = AppendBatch(buf[:0], &e)
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	e, err := Decode(event200)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := e.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
