package bench

import (
	"testing"

	"github.com/tidegate-io/tidegate/internal/test/testprocess"
)

func TestMain(m *testing.M) { testprocess.Main(m) }
