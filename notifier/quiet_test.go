package notifier

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func zone(t interface{ Fatal(...any) }, name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestQuietHours(t *testing.T) {
	t.Parallel()
	vienna := zone(t, "Europe/Vienna")
	night := &Quiet{From: 22 * time.Hour, To: 7 * time.Hour, Zone: vienna}
	for _, c := range []struct{ at, until string }{
		{"2026-01-10T21:59:59+01:00", ""},
		{"2026-01-10T22:00:00+01:00", "2026-01-11T07:00:00+01:00"},
		{"2026-01-11T03:00:00+01:00", "2026-01-11T07:00:00+01:00"},
		{"2026-01-11T06:59:59+01:00", "2026-01-11T07:00:00+01:00"},
		{"2026-01-11T07:00:00+01:00", ""},
		{"2026-07-10T20:30:00Z", "2026-07-11T07:00:00+02:00"}, // summer
		{"2026-03-28T23:00:00+01:00", "2026-03-29T07:00:00+02:00"},
		{"2026-10-24T23:00:00+02:00", "2026-10-25T07:00:00+01:00"},
		{"2026-12-31T23:30:00+01:00", "2027-01-01T07:00:00+01:00"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		end, ok := night.until(at)
		if ok != (c.until != "") {
			t.Errorf("%s: quiet %v", c.at, ok)
			continue
		}
		if want, _ := time.Parse(time.RFC3339, c.until); ok && !end.Equal(want) {
			t.Errorf("%s: until %v, want %s", c.at, end, c.until)
		}
	}
	noonBreak := &Quiet{From: 12 * time.Hour, To: 13*time.Hour + 30*time.Minute, Zone: time.UTC}
	if end, ok := noonBreak.until(noon); !ok || !end.Equal(noon.Add(90*time.Minute)) {
		t.Errorf("by day: %v, %v", end, ok)
	}
	if _, ok := noonBreak.until(noon.Add(90 * time.Minute)); ok {
		t.Error("the end is still quiet")
	}
	if _, ok := (*Quiet)(nil).until(noon); ok {
		t.Error("none are quiet")
	}
}

// The end lies ahead, within a day, is loud itself, and everything before it is
// quiet.
func TestQuietHoursEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		minute := func(name string) time.Duration {
			return time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, name)) * time.Minute
		}
		from := minute("from")
		long := time.Duration(rapid.IntRange(1, 24*60-1).Draw(t, "long")) * time.Minute
		q := &Quiet{From: from, To: (from + long) % (24 * time.Hour), Zone: zone(t, rapid.SampledFrom([]string{"UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"}).Draw(t, "zone"))}
		at := noon.Add(time.Duration(rapid.IntRange(0, 400*24*60).Draw(t, "minutes")) * time.Minute)
		end, ok := q.until(at)
		if !ok {
			return
		}
		if !end.After(at) || end.Sub(at) > 26*time.Hour {
			t.Fatalf("at %v until %v", at, end)
		}
		if _, still := q.until(end.Add(-time.Second)); !still {
			t.Fatalf("at %v until %v, which is loud before", at, end)
		}
	})
}
