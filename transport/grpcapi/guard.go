package grpcapi

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

var (
	errControlFlood = errors.New("grpcapi: the client has sent more control frames than max_control_frames permits")
	errResetFlood   = errors.New("grpcapi: the client has reset more calls than max_resets permits, and more than half of its calls")
)

// guarded is a TransportCredentials that wraps each connection in a guard, between gRPC and TLS.
type guarded struct {
	credentials.TransportCredentials

	config *Config
}

// ServerHandshake implements [credentials.TransportCredentials]. It returns a guard for the
// connection, or the error of the handshake.
func (g *guarded) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := g.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	guard := &guard{Conn: c, config: g.config, skip: prefaceBytes}
	if raw, ok := raw.(*conn); ok {
		raw.listener.guards.Store(raw.RemoteAddr(), guard)
	}
	return guard, info, nil
}

// Clone implements [credentials.TransportCredentials].
func (g *guarded) Clone() credentials.TransportCredentials {
	return &guarded{TransportCredentials: g.TransportCredentials.Clone(), config: g.config}
}

// guard is a connection that counts the frames it receives (RFC 9113, section 4.1). After too many
// control frames or resets, its Read method fails, and grpc-go closes the connection. grpc-go
// limits the memory for control frames, but not their number. One goroutine reads from a guard and
// another goroutine writes to it.
type guard struct {
	net.Conn

	config  *Config
	skip    int // remaining bytes of the preface or of a frame's payload
	head    [9]byte
	have    int  // number of bytes in head
	header  bool // whether the current frame belongs to a header block
	more    bool // whether the block continues after this frame
	timed   bool // whether the block has a deadline
	calls   int
	resets  int
	control int
	carried atomic.Int64 // bytes in both directions that have not yet offset a control frame
	opened  atomic.Int64 // streams opened so far; a client may end each of them by a reset

	mu       sync.Mutex
	deadline time.Time // deadline of the current header block; zero if there is none
	insert   []byte    // frames to be read before the next frame of the client
	woken    bool      // whether the connection's read deadline has passed because of insert
}

const (
	prefaceBytes = 24
	frameData    = 0
	frameHeaders = 1
	frameReset   = 3
	frameWindow  = 8 // WINDOW_UPDATE
	frameMore    = 9 // CONTINUATION
	endHeaders   = 4

	// perCall is the number of control frames allowed for each call. perFrame is the number of
	// bytes, in both directions, for which one further control frame is allowed. A client sends
	// such frames while it transfers data: window updates for responses, and acknowledgments of the
	// server's pings for requests.
	perCall  = 16
	perFrame = 1 << 10
)

// Read implements [net.Conn]. It returns an error after too many control frames or resets.
func (g *guard) Read(b []byte) (int, error) {
	for {
		n, err := g.prepare(b)
		if n > 0 || err != nil {
			return n, err
		}
		n, err = g.Conn.Read(b)
		if flood := g.see(b[:n]); flood != nil {
			return 0, flood
		}
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !g.wasWoken() {
			return n, err
		}
	}
}

// prepare copies inserted frames to b and returns the number of bytes copied, if there are such
// frames and no frame or header block of the client has begun. Otherwise it returns 0, sets a read
// deadline if a header block has begun, and removes this deadline if the block has ended. Messages
// need no read deadline, because the deadline of the call limits the time for a message.
func (g *guard) prepare(b []byte) (int, error) {
	open := g.more || g.header && g.skip > 0
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.insert) > 0 && !open && g.skip == 0 && g.have == 0 {
		n := copy(b, g.insert)
		g.insert = g.insert[n:]
		return n, nil
	}
	if open == g.timed {
		return 0, nil
	}
	g.timed, g.deadline = open, time.Time{}
	if open {
		g.deadline = time.Now().Add(g.config.ConnectionTimeout)
	}
	g.woken = false
	return 0, g.SetReadDeadline(g.deadline)
}

// wasWoken reports whether a read has ended because of reset. If so, it restores the deadline.
func (g *guard) wasWoken() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.woken {
		return false
	}
	g.woken = false
	return g.SetReadDeadline(g.deadline) == nil
}

// reset makes grpc-go discard the data that is queued for a stream and send RST_STREAM. grpc-go has
// no function for this purpose. Therefore, reset inserts a frame that is a stream error: a
// WINDOW_UPDATE with an increment of 0 (RFC 9113, section 6.9).
func (g *guard) reset(stream uint32) {
	frame := binary.BigEndian.AppendUint32([]byte{0, 0, 4, frameWindow, 0}, stream)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.insert = append(g.insert, append(frame, 0, 0, 0, 0)...)
	g.woken = true
	_ = g.SetReadDeadline(time.Unix(1, 0)) // an error means that the connection is closed
}

func (g *guard) see(b []byte) error {
	for len(b) > 0 {
		if g.skip > 0 {
			n := min(g.skip, len(b))
			g.skip -= n
			b = b[n:]
			continue
		}
		n := copy(g.head[g.have:], b)
		g.have += n
		b = b[n:]
		if g.have == len(g.head) {
			g.have = 0
			if err := g.frame(); err != nil {
				return err
			}
		}
	}
	return nil
}

// frame counts the frame whose header is in head. It returns an error after too many control frames
// or resets.
func (g *guard) frame() error {
	g.skip = int(binary.BigEndian.Uint32(g.head[:]) >> 8)
	kind := g.head[3]
	g.header = kind == frameHeaders || kind == frameMore
	if g.header {
		g.more = g.head[4]&endHeaders == 0
	}
	switch {
	case kind == frameHeaders:
		g.calls++
		g.control = max(0, g.control-perCall)
		return nil
	case kind == frameData && g.skip > 0:
		g.carried.Add(int64(g.skip))
		return nil
	case kind == frameReset:
		if g.resets++; int64(g.resets) > int64(g.config.MaxResets)+g.opened.Load() && 2*g.resets > g.calls {
			return errResetFlood
		}
	}
	return g.countControl()
}

func (g *guard) countControl() error {
	g.control++
	if frames := g.carried.Load() / perFrame; frames > 0 {
		g.carried.Add(-frames * perFrame)
		g.control = int(max(0, int64(g.control)-frames))
	}
	if g.control > g.config.MaxControlFrames {
		return errControlFlood
	}
	return nil
}

// Write implements [net.Conn]. It adds the bytes written to those that offset control frames.
func (g *guard) Write(b []byte) (int, error) {
	n, err := g.Conn.Write(b)
	g.carried.Add(int64(n))
	return n, err
}

// guardOf returns the guard of a call's connection, or nil if the connection is closed.
func (s *Server) guardOf(ctx context.Context) *guard {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	g, _ := s.listener.Load().guards.Load(p.Addr)
	found, _ := g.(*guard)
	return found
}

// reset resets the stream of the call with the context ctx, if the connection is open. If the ID of
// the stream is unknown, reset closes the connection.
func (s *Server) reset(ctx context.Context) {
	g := s.guardOf(ctx)
	if g == nil {
		return
	}
	if id, ok := streamID(ctx); ok {
		g.reset(id)
	} else {
		_ = g.Close()
	}
}

// streamID returns the ID of the HTTP/2 stream of a call, which grpc-go stores in an unexported
// field. Ok is false if the version of grpc-go does not have this field.
func streamID(ctx context.Context) (id uint32, ok bool) {
	v := reflect.ValueOf(grpc.ServerTransportStreamFromContext(ctx))
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return 0, false
	}
	field := v.Elem().FieldByName("id")
	if field.Kind() != reflect.Uint32 {
		return 0, false
	}
	return uint32(field.Uint()), true
}
