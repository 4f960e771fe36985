package main

import (
	"context"
	"os"
	"runtime"
	"time"
)

// extraProcs raises GOMAXPROCS above Go's default, so that the operating system, with time slices
// of a few milliseconds, shares the cores among password hashes and other work. Otherwise Go's
// scheduler would run one hash for 10 ms, and then another hash, before a call that validates a
// token. extraProcs adds one to GOMAXPROCS per two hash workers, and at least one. One per worker
// would cost a fifth of the logins, because the garbage collector uses the additional processors
// too. See docs/decisions/0014-overload.md.
//
// Setting GOMAXPROCS disables Go's own adaptation to the CPU limit of the container, so run sets it
// again every 30 seconds. A GOMAXPROCS set in the environment is not changed.
type extraProcs struct {
	extra  int
	chosen func() int // sets GOMAXPROCS to Go's current default and returns it
	set    func(n int)
}

// procsInterval is the interval at which run sets GOMAXPROCS again.
const procsInterval = 30 * time.Second

func newExtraProcs(hashing int) *extraProcs {
	return &extraProcs{
		extra:  max(1, hashing/2),
		chosen: func() int { runtime.SetDefaultGOMAXPROCS(); return runtime.GOMAXPROCS(0) },
		set:    func(n int) { runtime.GOMAXPROCS(n) },
	}
}

// run sets GOMAXPROCS periodically until ctx is done, unless the environment sets it.
func (p *extraProcs) run(ctx context.Context) error {
	if os.Getenv("GOMAXPROCS") != "" {
		return nil
	}
	ticker := time.NewTicker(procsInterval)
	defer ticker.Stop()
	for {
		p.set(p.chosen() + p.extra)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
