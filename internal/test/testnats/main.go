package testnats

import (
	"flag"
	"runtime"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// atOnce is how many parallel tests run at a time.
const atOnce = 8

// Main runs the tests of a package whose tests wait for servers: more of them at
// a time than there are processors, unless -parallel says how many. It fails when
// goroutines are left. A package calls it as its TestMain.
func Main(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = f.Value.Set(strconv.Itoa(max(atOnce, runtime.GOMAXPROCS(0)))) // a number is always taken
	}
	goleak.VerifyTestMain(m)
}

// RapidChecks sets how often rapid checks the properties of the package, unless
// -rapid.checks says it: fewer times when each check starts a server. A package
// calls it in its TestMain.
func RapidChecks(n int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		_ = flag.Set("rapid.checks", strconv.Itoa(n)) // a number is always taken
	}
}
