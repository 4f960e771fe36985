package workpool

import "context"

// task is a function to run, with its context and state. A task is in at most one list. The pool's
// lock guards the fields of a task, except ctx and fn, which do not change after the task is
// accepted.
type task struct {
	ctx   context.Context // of Do's caller, or detached from Submit's
	fn    func(context.Context)
	state state
	heard bool // a caller of Do waits, and will receive the error of a panic

	accepted chan error    // of a task that waits for a place: receives nil or an error
	done     chan struct{} // of a task of Do: closed when it has finished or Stop drops it
	failure  error         // why fn did not return; set before done is closed

	in         *list
	prev, next *task
}

type state int

const (
	outside  state = iota // not accepted
	queued                // accepted, not yet running
	running               // taken by a worker
	finished              // returned, panicked or canceled
)

// close wakes the caller of Do, if t has one.
func (t *task) close() {
	if t.done != nil {
		close(t.done)
	}
}

// list is a queue of tasks, from which any task can be removed. The zero value is empty.
type list struct {
	first, last *task
	len         int
}

func (l *list) push(t *task) {
	t.in, t.prev = l, l.last
	if l.last == nil {
		l.first = t
	} else {
		l.last.next = t
	}
	l.last = t
	l.len++
}

// pop removes and returns the first task, or nil if the list is empty.
func (l *list) pop() *task {
	t := l.first
	if t != nil {
		l.remove(t)
	}
	return t
}

// remove removes t from l, which must contain it.
func (l *list) remove(t *task) {
	if t.prev == nil {
		l.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.in, t.prev, t.next = nil, nil, nil
	l.len--
}
