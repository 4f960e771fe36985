// Package calltracetest records the operations of calls in tests.
package calltracetest

import (
	"context"
	"sync"

	"github.com/chassi-go/chassi/calltrace"
)

// Recorder records operations in the order in which they end. The zero value is ready to use. A
// Recorder is safe for concurrent use.
type Recorder struct {
	mu    sync.Mutex
	begun int
	ended []Ended
}

// Ended is an operation that has ended.
type Ended struct {
	calltrace.Operation

	Code, Failure string
	Within        string // the enclosing operation, or "" if there is none
}

type withinKey struct{}

// Context returns a copy of ctx. The operations that begin with the copy are recorded by r.
func (r *Recorder) Context(ctx context.Context) context.Context {
	return calltrace.WithTracer(ctx, r.start)
}

func (r *Recorder) start(ctx context.Context, o calltrace.Operation) (context.Context, calltrace.End) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun++
	within, _ := ctx.Value(withinKey{}).(string)
	var once sync.Once
	return context.WithValue(ctx, withinKey{}, o.String()), func(code, failure string) {
		once.Do(func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ended = append(r.ended, Ended{o, code, failure, within})
		})
	}
}

// Take returns the operations that have ended since the last call of Take, and the number of
// operations that are still running.
func (r *Recorder) Take() (ended []Ended, running int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended, running = r.ended, r.begun-len(r.ended)
	r.begun -= len(r.ended)
	r.ended = nil
	return ended, running
}

// Texts returns the result of [Recorder.Take] as strings: "SELECT users" for an operation that
// succeeded, "SELECT users: 42P01" for one that failed, and "running" for one that is still
// running.
func (r *Recorder) Texts() []string {
	ended, running := r.Take()
	texts := make([]string, 0, len(ended))
	for _, e := range ended {
		text := e.String()
		if e.Code+e.Failure != "" {
			text += ": " + e.Code + e.Failure
		}
		texts = append(texts, text)
	}
	for range running {
		texts = append(texts, "running")
	}
	return texts
}
