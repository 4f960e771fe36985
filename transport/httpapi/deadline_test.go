package httpapi

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
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
			server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			server.SetReadDeadline(later)
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
	server.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	server.SetWriteDeadline(time.Now().Add(time.Minute))
	sent := strings.Repeat("0123456789", 1<<20) // more than the sockets hold
	written := make(chan error, 1)
	go func() {
		_, err := server.Write([]byte(sent))
		written <- errors.Join(err, server.CloseWrite())
	}()
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
