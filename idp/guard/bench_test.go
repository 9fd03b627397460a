package guard_test

import (
	"testing"

	"postern/idp/guard"
	"postern/idp/guard/guardtest"
)

func BenchmarkReserveAndRelease(b *testing.B) { guardtest.Benchmark(b, guard.NewMemory()) }
