package grpcapi

import (
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

var (
	errControlFlood = errors.New("grpcapi: too many frames that carry nothing")
	errResetFlood   = errors.New("grpcapi: too many calls reset")
)

// guarded are credentials whose connections are guarded, below gRPC and above TLS.
type guarded struct {
	credentials.TransportCredentials

	config *Config
}

// ServerHandshake implements [credentials.TransportCredentials].
func (g *guarded) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := g.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return &guard{Conn: c, config: g.config, skip: prefaceBytes}, info, nil
}

// Clone implements [credentials.TransportCredentials].
func (g *guarded) Clone() credentials.TransportCredentials {
	return &guarded{TransportCredentials: g.TransportCredentials.Clone(), config: g.config}
}

// guard counts the frames that come in (RFC 9113, section 4.1), and ends a
// connection whose frames are none of a call's. grpc-go bounds what they make it
// remember, not how many it takes. It is read by one goroutine and written to by
// another.
type guard struct {
	net.Conn

	config  *Config
	skip    int // bytes to come of the preface, then of a frame's payload
	head    [9]byte
	have    int  // bytes of head
	header  bool // whether the frame belongs to a block of headers
	more    bool // whether the block goes on behind it
	timed   bool // whether the block has a deadline
	calls   int
	resets  int
	control int
	carried atomic.Int64 // bytes, both ways, that no control frame has been forgiven for
}

const (
	prefaceBytes = 24
	frameData    = 0
	frameHeaders = 1
	frameReset   = 3
	frameMore    = 9 // CONTINUATION
	endHeaders   = 4

	// perCall is how many control frames a call pays for, perFrame how many bytes pay
	// for one: a window update comes for some KiB of answers, a ping's answer for
	// some KiB of requests.
	perCall  = 16
	perFrame = 1 << 10
)

// Read implements [net.Conn].
func (g *guard) Read(b []byte) (int, error) {
	if err := g.limitHeader(); err != nil {
		return 0, err
	}
	n, err := g.Conn.Read(b)
	if flood := g.see(b[:n]); flood != nil {
		return 0, flood
	}
	return n, err
}

// limitHeader gives a block of headers that has not ended yet its time. A message
// has that of its call.
func (g *guard) limitHeader() error {
	open := g.more || g.header && g.skip > 0
	if open == g.timed {
		return nil
	}
	g.timed = open
	if !open {
		return g.SetReadDeadline(time.Time{})
	}
	return g.SetReadDeadline(time.Now().Add(g.config.ConnectionTimeout))
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

// frame counts the one whose head is there.
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
		if g.resets++; g.resets > g.config.MaxResets && 2*g.resets > g.calls {
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

// Write implements [net.Conn].
func (g *guard) Write(b []byte) (int, error) {
	n, err := g.Conn.Write(b)
	g.carried.Add(int64(n))
	return n, err
}
