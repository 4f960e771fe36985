package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/internal/certtest"
)

// However many handshakes fail, and whatever they send, one short line a second says so.
func TestErrorsOutsideOfCallsAreLoggedOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newErrorLog(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), "http")
		for range 1000 {
			l.Print("http: TLS handshake error from 192.0.2.1:1: ", strings.Repeat("x", 10_000))
		}
		time.Sleep(time.Second)
		l.Print("another\xff\nline")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d lines", len(lines))
		}
		var second struct {
			Server, Text string
			Omitted      int
		}
		if err := json.Unmarshal([]byte(lines[1]), &second); err != nil || second.Server != "http" || second.Text != "another\uFFFD\nline" || second.Omitted != 999 {
			t.Errorf("%+v, %v", second, err)
		}
		if len(lines[0]) > 2*errorLogBytes {
			t.Errorf("a line of %d bytes", len(lines[0]))
		}
	})
}

// The same of a real server, whose handshakes fail.
func TestFailedHandshakesDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	issued := certtest.Issue(t, "server", nil, time.Now().Add(time.Hour))
	c := Config{TLS: install(t, issued), Logger: slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	var s *Server
	serveTest(t, c, func(server *Server) { s = server })
	began := time.Now()
	for range 200 {
		conn := dialFrom(t, "127.0.0.2", s.Addr())
		_, _ = io.WriteString(conn, "no handshake at all\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}
	if n, most := strings.Count(out.String(), `"msg":"net/http"`), int(time.Since(began)/errorLogInterval)+1; n < 1 || n > most {
		t.Errorf("200 failed handshakes made %d lines, want 1 to %d", n, most)
	}
}

// lockedBuffer may be read while it is written to.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
