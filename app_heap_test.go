package chassi_test

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/chassi-go/chassi"
)

var garbage []byte

// collections counts how often the garbage collector runs while a server
// allocates 12 MiB in small pieces.
func collections(t *testing.T, floor int) (n uint32) {
	t.Helper()
	app := newApp(chassi.AppOptions{HeapFloor: floor})
	app.Add(chassi.ComponentFunc("allocating", func(context.Context) error {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range 12 << 10 {
			garbage = make([]byte, 1<<10)
		}
		runtime.ReadMemStats(&after)
		n = after.NumGC - before.NumGC
		return nil
	}, nil))
	stop := run(t, app)
	if err := stop(); err != nil {
		t.Error(err)
	}
	return n
}

func TestTheHeapFloorSparesCollections(t *testing.T) {
	t.Setenv("GOGC", "")
	if n := collections(t, 0); n != 0 {
		t.Errorf("%d collections above the default floor, want none", n)
	}
	if n := collections(t, -1); n == 0 {
		t.Error("no collection without a floor: the test shows nothing")
	}
}

func TestGOGCHasTheLastWord(t *testing.T) {
	t.Setenv("GOGC", "100")
	if n := collections(t, 0); n == 0 {
		t.Error("the floor holds although GOGC is set")
	}
}

// The floor counts against the memory limit although it takes no memory.
func TestALowMemoryLimitSwitchesTheHeapFloorOff(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	debug.SetMemoryLimit(1 << 30)
	if n := collections(t, 0); n != 0 {
		t.Errorf("%d collections under a limit of 1 GiB, want none", n)
	}
	debug.SetMemoryLimit(128 << 20)
	if n := collections(t, 0); n == 0 {
		t.Error("the floor of 32 MiB holds under a limit of 128 MiB")
	}
}
