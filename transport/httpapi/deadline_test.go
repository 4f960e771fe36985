package httpapi

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// accept returns both ends of a connection of a limited listener.
func accept(t *testing.T) (server *limitedTCP, client net.Conn) {
	t.Helper()
	l, accepted := listen(t, 1, false)
	client = dial(t, l)
	server, ok := (<-accepted).(*limitedTCP)
	if !ok {
		t.Fatal("not a limitedTCP")
	}
	t.Cleanup(func() { server.Close() })
	return server, client
}

// awaitArmed waits until the runtime has the deadline that is wanted.
func (d *lazyDeadline) awaitArmed(t *testing.T) {
	t.Helper()
	poll, end := time.NewTicker(time.Millisecond), time.After(10*time.Second)
	defer poll.Stop()
	for {
		select {
		case <-poll.C:
		case <-end:
			t.Fatal("the early deadline never rang")
		}
		d.mu.Lock()
		armed := d.armed.Equal(d.want)
		d.mu.Unlock()
		if armed {
			return
		}
	}
}

func TestLaterReadDeadlineApplies(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]time.Time{"later": time.Now().Add(time.Hour), "none": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := accept(t)
			server.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			read := make(chan error, 1)
			go func() {
				b := make([]byte, 5)
				_, err := io.ReadFull(server, b)
				if err == nil && string(b) != "hello" {
					err = errors.New("read " + string(b))
				}
				read <- err
			}()
			server.read.awaitArmed(t)
			server.SetReadDeadline(later)
			server.read.awaitArmed(t)
			if _, err := client.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if err := <-read; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEarlierReadDeadlineExpires(t *testing.T) {
	t.Parallel()
	server, _ := accept(t)
	server.SetReadDeadline(time.Now().Add(time.Minute))
	read := make(chan error, 1)
	go func() {
		_, err := server.Read(make([]byte, 1))
		read <- err
	}()
	server.SetReadDeadline(time.Unix(1, 0)) // as net/http interrupts a read
	if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want the deadline's error", err)
	}
	server.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want the deadline's error again", err)
	}
}

// What the early deadline cut short is written to its end, each byte once.
func TestLaterWriteDeadlineApplies(t *testing.T) {
	t.Parallel()
	server, client := accept(t)
	server.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	sent := strings.Repeat("0123456789", 1<<20) // more than the sockets hold
	written := make(chan error, 1)
	go func() {
		_, err := server.Write([]byte(sent))
		written <- errors.Join(err, server.CloseWrite())
	}()
	server.write.awaitArmed(t)
	server.SetWriteDeadline(time.Now().Add(time.Minute))
	server.write.awaitArmed(t)
	got, err := io.ReadAll(client)
	if err != nil || string(got) != sent {
		t.Errorf("%d bytes of %d arrived, %v", len(got), len(sent), err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestWriteDeadlineExpires(t *testing.T) {
	t.Parallel()
	server, _ := accept(t)
	server.SetDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := server.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want the deadline's error", err)
	}
}

// A reader cannot be read twice, so the deadline must be right before.
func TestReadFromHasTheLaterDeadline(t *testing.T) {
	t.Parallel()
	server, client := accept(t)
	server.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	later := time.Now().Add(time.Minute)
	server.SetWriteDeadline(later)
	go func() {
		server.ReadFrom(strings.NewReader("a file"))
		server.CloseWrite()
	}()
	if got, err := io.ReadAll(client); string(got) != "a file" {
		t.Errorf("%q, %v", got, err)
	}
	server.write.mu.Lock()
	defer server.write.mu.Unlock()
	if !server.write.armed.Equal(later) {
		t.Errorf("armed %v, want %v", server.write.armed, later)
	}
}

// A reader of the connection observes the deadline, however it reads.
func TestWriteToExpires(t *testing.T) {
	t.Parallel()
	server, client := accept(t)
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	var got strings.Builder
	if _, err := io.Copy(&got, server); !errors.Is(err, os.ErrDeadlineExceeded) || got.String() != "hello" {
		t.Errorf("%q, %v", got.String(), err)
	}
}

// A write of several buffers observes the deadline.
func TestBuffersExpire(t *testing.T) {
	t.Parallel()
	server, _ := accept(t)
	server.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	written := make(chan error, 1)
	go func() {
		buffers := net.Buffers{make([]byte, 8<<20), make([]byte, 8<<20)} // more than the sockets hold
		_, err := buffers.WriteTo(server)
		written <- err
	}()
	select {
	case err := <-written:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, want the deadline's error", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the deadline did not end the write")
	}
}

// A watch for a disconnect that is canceled before it has begun does not touch the runtime's timer.
func TestPassedDeadlineDoesNotSetTheTimer(t *testing.T) {
	t.Parallel()
	server, client := accept(t)
	server.SetReadDeadline(time.Unix(1, 0))
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want the deadline's error", err)
	}
	if !server.read.armed.IsZero() {
		t.Errorf("armed %v", server.read.armed)
	}
	server.SetReadDeadline(time.Time{})
	client.Write([]byte("x"))
	if n, err := server.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// Whatever moves the deadline, and when, a read ends at the deadline that was set last, or as soon
// as that is in the past.
func TestDeadlineMoves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		type move struct {
			after    int  // seconds
			deadline int  // half a second more from then
			none     bool // no deadline
		}
		moves := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) move {
			return move{rapid.IntRange(0, 50).Draw(r, "after"), rapid.IntRange(-20, 60).Draw(r, "deadline"), rapid.Bool().Draw(r, "none")}
		}), 1, 12).Draw(r, "moves")
		before := rapid.IntRange(0, len(moves)).Draw(r, "moves before the read")
		synctest.Test(t, func(t *testing.T) {
			ended, want := readWithDeadlines(t, len(moves), before, func(i int) (time.Duration, time.Time) {
				after := time.Duration(moves[i].after) * time.Second
				if moves[i].none {
					return after, time.Time{}
				}
				return after, time.Now().Add(after + time.Duration(moves[i].deadline)*time.Second + time.Second/2)
			})
			if !ended.Equal(want) {
				t.Errorf("%+v, read after %d: ended at %v, want %v", moves, before, ended, want)
			}
		})
	})
}

// readWithDeadlines reads from a pipe whose deadline moves, and returns when the deadline ended the
// read, and when it should; zero if it should not.
func readWithDeadlines(t *testing.T, moves, before int, next func(int) (after time.Duration, deadline time.Time)) (ended, want time.Time) {
	near, far := net.Pipe() // its deadlines are those of the runtime
	defer far.Close()
	var d lazyDeadline
	done := make(chan time.Time, 1)
	read := func() {
		err := d.begin(near.SetReadDeadline)
		for err == nil {
			if _, err = near.Read(make([]byte, 1)); d.extend(err, near.SetReadDeadline) {
				err = nil
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			done <- time.Now()
		}
		close(done)
	}
	var began, deadline time.Time
	passed := func(now time.Time) bool { return !deadline.IsZero() && !began.IsZero() && !deadline.After(now) }
	for i := 0; i <= moves; i++ {
		if i == before {
			began = time.Now()
			go read()
			synctest.Wait()
		}
		if passed(time.Now()) && want.IsZero() {
			want = time.Now()
		}
		if i == moves {
			break
		}
		after, to := next(i)
		<-time.After(after)
		if passed(time.Now()) && want.IsZero() {
			want = deadline
		}
		deadline = to
		if err := d.move(to, near.SetReadDeadline); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	if want.IsZero() && !deadline.IsZero() {
		want = deadline
	}
	<-time.After(time.Hour)
	near.Close()
	return <-done, want
}
