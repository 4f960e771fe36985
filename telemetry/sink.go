package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sinkBytes = 4 << 20                // maximum bytes of buffered lines
	lateBytes = 1 << 20                // bytes of buffered lines above which callers encode
	sinkBatch = 256 << 10              // bytes of buffered lines above which they are written early
	sinkKeep  = 1 << 20                // maximum bytes of a buffer that is used again
	sinkPause = 50 * time.Millisecond  // maximum time between buffering and writing a line
	lateWait  = 100 * time.Millisecond // timeout of a write after close
)

// sinkState determines what happens to a new line.
type sinkState uint8

const (
	buffering sinkState = iota // the line is buffered, and the goroutine writes it
	direct                     // after close: the line is written at once
	dropping                   // after close, if a write hung: the line is dropped
)

// sink is a writer that buffers log lines and records. A goroutine encodes the records and writes
// all lines to out after at most sinkPause, when more than sinkBatch bytes are buffered, or when
// flushNow is called. If sinkBytes bytes are buffered because out is slow, new lines are dropped and
// counted. When out accepts lines again, a line with the number of dropped lines follows.
type sink struct {
	out      io.Writer
	announce func(lost uint64) []byte // returns the line about dropped lines
	dropped  atomic.Uint64
	failing  atomic.Bool // the last write failed, or lines are being dropped

	mu      sync.Mutex
	state   sinkState
	writing bool // the goroutine encodes or writes a batch
	pending batch
	spare   batch           // an empty batch for the next pending
	flushed []chan struct{} // closed when pending is written

	wake, now  chan struct{} // signal that lines are buffered, and that they are to be written now
	quit, done chan struct{}
	closing    sync.Once

	// The fields below are used only by the goroutine.
	announced     uint64 // dropped lines that were reported
	partial       bool   // the last line was written only in part
	encoded, line []byte // buffers
}

func newSink(out io.Writer, announce func(lost uint64) []byte) *sink {
	s := newIdleSink(out, announce)
	go s.run()
	return s
}

// newIdleSink returns a sink whose goroutine is not running yet.
func newIdleSink(out io.Writer, announce func(lost uint64) []byte) *sink {
	return &sink{
		out: out, announce: announce, wake: make(chan struct{}, 1), now: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// Write accepts one complete line. It never returns an error, and it does not block, except that
// after close it writes the line itself, for at most lateWait.
func (s *sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state == dropping, s.pending.size+len(line) > sinkBytes:
		s.dropped.Add(1)
		s.failing.Store(true)
	case s.state == direct:
		s.writeLate(line)
	default:
		s.buffer(line)
	}
	return len(line), nil
}

func (s *sink) buffer(line []byte) {
	s.pending.lines = append(s.pending.lines, line...)
	s.added(len(line))
}

// added adds size bytes to the size of the pending batch, and wakes the goroutine if necessary.
func (s *sink) added(size int) {
	if s.pending.size == 0 {
		signal(s.wake)
	}
	if s.pending.size += size; s.pending.size > sinkBatch {
		signal(s.now)
	}
}

// add accepts a record of about size bytes that the goroutine then encodes. Encoding many
// records in a row takes less time than encoding one in each call, and the call that logs
// does not wait. add returns false if the caller must encode the record: after close; during
// a write, which may take long; and if more than lateBytes would be buffered, which bounds the
// memory of the records and the work of the goroutine. A string in a record may be part of a much
// larger string, such as the body of a request, and keeps that string in memory, but only for
// sinkPause and the time to encode a batch.
func (s *sink) add(h *jsonHandler, ids callIDs, r *slog.Record, size int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != buffering || s.writing || s.pending.size+size > lateBytes {
		return false
	}
	s.pending.records = append(s.pending.records, lateRecord{h, ids, *r, len(s.pending.lines)})
	s.added(size)
	return true
}

// batch contains the lines and records that a sink writes together.
type batch struct {
	lines   []byte
	records []lateRecord
	size    int // approximate size of both, in bytes
}

// lateRecord is a record that is not encoded yet.
type lateRecord struct {
	handler *jsonHandler
	ids     callIDs
	record  slog.Record
	at      int // offset in the lines of the batch at which its line belongs
}

// encode returns all lines of the batch in their order. The result is valid until the next call.
func (s *sink) encode(b *batch) []byte {
	if len(b.records) == 0 {
		return b.lines
	}
	s.encoded = s.encoded[:0]
	written := 0
	for i := range b.records {
		r := &b.records[i]
		s.encoded = append(s.encoded, b.lines[written:r.at]...)
		written = r.at
		s.line = r.handler.appendLine(s.line[:0], r.ids, &r.record)
		s.encoded = append(s.encoded, s.line...)
	}
	s.encoded = append(s.encoded, b.lines[written:]...)
	return s.encoded
}

// writeLate writes a line after close, such as the line that reports that the program has
// stopped. If the write does not end within lateWait, this line and all later ones are dropped.
func (s *sink) writeLate(line []byte) {
	line = bytes.Clone(line) // the write may outlast this function
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.out.Write(line) // there is no other place to report it
	}()
	select {
	case <-done:
	case <-time.After(lateWait):
		s.state = dropping
		s.dropped.Add(1)
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// flushNow makes the goroutine write the buffered lines without delay.
func (s *sink) flushNow() { signal(s.now) }

func (s *sink) run() {
	defer close(s.done)
	timer := time.NewTimer(sinkPause)
	defer timer.Stop()
	for s.wait(timer) {
		s.writePending()
	}
	for s.writePending() { // lines are added during a write
	}
}

// wait waits until buffered lines are to be written, and returns true. It returns false if the sink
// is closed first; lines may then still be buffered.
func (s *sink) wait(timer *time.Timer) bool {
	select {
	case <-s.wake:
	case <-s.quit:
		return false
	}
	timer.Reset(sinkPause)
	select {
	case <-timer.C:
	case <-s.now:
	case <-s.quit:
	}
	return true
}

// writePending writes the buffered lines, and reports whether there were any.
func (s *sink) writePending() bool {
	b, flushed := s.takePending()
	lines := s.encode(&b)
	clear(b.records) // refers to strings
	s.write(lines)
	for _, f := range flushed {
		close(f)
	}
	if cap(s.encoded) > sinkKeep {
		s.encoded = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	if b.size <= sinkKeep {
		s.spare = batch{lines: b.lines[:0], records: b.records[:0]}
	}
	return b.size > 0
}

// takePending removes and returns the buffered lines, and the channels to close when the lines
// are written. If no lines are buffered after close, later lines are written directly.
func (s *sink) takePending() (b batch, flushed []chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, flushed = s.pending, s.flushed
	s.pending, s.flushed, s.spare = s.spare, nil, batch{}
	s.writing = true
	if b.size == 0 && s.isClosing() && s.state == buffering {
		s.state = direct
	}
	return b, flushed
}

func (s *sink) isClosing() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// write writes the lines in batch, followed by a line about dropped lines if lines have been dropped
// since the last such line. Lines that out does not accept count as dropped.
func (s *sink) write(batch []byte) {
	if lost := s.dropped.Load(); lost > s.announced {
		batch = append(batch, s.announce(lost-s.announced)...)
		s.announced = lost
	}
	if len(batch) == 0 {
		return
	}
	if s.partial {
		batch = append([]byte{'\n'}, batch...)
	}
	n, err := s.out.Write(batch)
	if n > 0 {
		s.partial = batch[n-1] != '\n'
	}
	s.failing.Store(err != nil)
	if err != nil {
		s.dropped.Add(uint64(bytes.Count(batch[n:], []byte{'\n'})))
	}
}

// flush waits until all lines logged so far are written, or until ctx is done.
func (s *sink) flush(ctx context.Context) {
	written, ok := s.awaitPending()
	if !ok {
		return
	}
	signal(s.wake)
	signal(s.now)
	select {
	case <-written:
	case <-s.done:
	case <-ctx.Done():
	}
}

// awaitPending returns a channel that is closed when the buffered lines are written. It returns
// false if lines are no longer buffered.
func (s *sink) awaitPending() (written chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != buffering {
		return nil, false
	}
	written = make(chan struct{})
	s.flushed = append(s.flushed, written)
	return written, true
}

// close writes the buffered lines and ends the goroutine. If out hangs until ctx is done, close
// returns, the goroutine keeps running, and the lines are lost.
func (s *sink) close(ctx context.Context) {
	s.closing.Do(func() { close(s.quit) })
	select {
	case <-s.done:
	case <-ctx.Done():
		s.mu.Lock()
		s.state = dropping
		s.mu.Unlock()
	}
}
