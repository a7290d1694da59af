// Package kept holds records to what former versions wrote: their bytes are test data,
// and must mean the same to the present version.
package kept

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

var keep = flag.Bool("keep", false, "keep the bytes of records that have none yet in testdata")

// Check reads the bytes of testdata/<name>.bin with decode, and compares the result with
// testdata/<name>.json. The present version may know more fields: those of the file must
// be equal. With the flag -keep, it writes files that are missing, from sample. A record
// of a new format gets a new name; the files of the former one stay.
func Check(t *testing.T, name string, sample func() ([]byte, error), decode func([]byte) (any, error)) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if _, err := os.Stat(path + ".bin"); os.IsNotExist(err) && *keep {
		write(t, path, sample, decode)
	}
	data, err := os.ReadFile(path + ".bin")
	if err != nil {
		t.Fatalf("%v: `go test -run %s -keep` keeps the bytes of a new record", err, t.Name())
	}
	want, err := os.ReadFile(path + ".json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(data)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if diff := missing("", plain(t, want), plain(t, asJSON(t, got))); diff != "" {
		t.Errorf("%s.bin means something else now: %s", path, diff)
	}
}

// CheckStruct is Check of a record of type T in the form of marshal and unmarshal, whose
// sample is that of Sample.
func CheckStruct[T any](t *testing.T, name string, marshal func(any) ([]byte, error), unmarshal func([]byte, any) error) {
	t.Helper()
	Check(t, name,
		func() ([]byte, error) { return marshal(Sample[T]()) },
		func(b []byte) (any, error) {
			v := new(T)
			return v, unmarshal(b, v)
		})
}

func write(t *testing.T, path string, sample func() ([]byte, error), decode func([]byte) (any, error)) {
	data, err := sample()
	if err != nil {
		t.Fatal(err)
	}
	v, err := decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	for suffix, b := range map[string][]byte{".bin": data, ".json": append(asJSON(t, v), '\n')} {
		if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func asJSON(t *testing.T, v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func plain(t *testing.T, b []byte) (v any) {
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// missing returns the first place where got does not have what want has, or "".
func missing(at string, want, got any) string {
	switch want := want.(type) {
	case map[string]any:
		have, _ := got.(map[string]any)
		for key := range want {
			if diff := missing(at+"."+key, want[key], have[key]); diff != "" {
				return diff
			}
		}
		return ""
	case []any:
		have, _ := got.([]any)
		if len(have) != len(want) {
			return fmt.Sprintf("%s has %d elements, not %d", at, len(have), len(want))
		}
		for i := range want {
			if diff := missing(fmt.Sprintf("%s[%d]", at, i), want[i], have[i]); diff != "" {
				return diff
			}
		}
		return ""
	}
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return fmt.Sprintf("%s is %v, not %v", at, got, want)
}

// Sample returns a value whose exported fields all differ from zero and, as far as
// possible, from each other.
func Sample[T any]() *T {
	v := new(T)
	f := filler{}
	f.fill(reflect.ValueOf(v).Elem())
	return v
}

type filler struct{ n int }

func (f *filler) fill(v reflect.Value) {
	f.n++
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Date(2026, 11, 1, 0, f.n, 0, 0, time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", f.n))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.n % 100))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.n % 100))
	case reflect.Float64:
		v.SetFloat(float64(f.n) / 4)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0))
		f.fill(v.Index(1))
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key)
		f.fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i))
			}
		}
	}
}
