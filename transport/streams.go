package transport

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/ratelimit"
)

// HeartbeatKey is the key, in the metadata of a stream's response, of the interval between
// heartbeats in milliseconds. A client considers a stream broken after three intervals without a
// message.
const HeartbeatKey = "Stream-Heartbeat-Ms"

// StreamConfig configures the streams of a server. The zero value of every field means the
// default in its tag.
type StreamConfig struct {
	Heartbeat    time.Duration `config:"heartbeat" default:"15s" min:"100ms" help:"interval of the messages that show that a stream without items is open; clients give up after three intervals without one"`
	SendTimeout  time.Duration `config:"send_timeout" default:"10s" min:"1ms" help:"for sending one item; a client that does not read for longer loses its stream"`
	MaxAge       time.Duration `config:"max_age" default:"1h" min:"1s" help:"of a stream, up to a tenth more or less; then the client must open it again"`
	MaxItemBytes int           `config:"max_item_bytes" default:"1048576" min:"1" help:"an encoded item; a larger one ends its stream"`
	Max          int           `config:"max" default:"10000" min:"1" help:"open streams of a server; further ones get unavailable"`
	MaxPeer      int           `config:"max_peer" default:"1000" min:"1" help:"open streams of one client address (IPv6: /64); further ones get resource_exhausted"`
	MaxPrincipal int           `config:"max_principal" default:"100" min:"1" help:"open streams of one principal; further ones get resource_exhausted"`
}

// WithDefaults returns a copy of c in which every zero field is replaced by its default.
func (c StreamConfig) WithDefaults() StreamConfig {
	c.Heartbeat = cmp.Or(c.Heartbeat, 15*time.Second)
	c.SendTimeout = cmp.Or(c.SendTimeout, 10*time.Second)
	c.MaxAge = cmp.Or(c.MaxAge, time.Hour)
	c.MaxItemBytes = cmp.Or(c.MaxItemBytes, 1<<20)
	c.Max = cmp.Or(c.Max, 10_000)
	c.MaxPeer = cmp.Or(c.MaxPeer, 1000)
	c.MaxPrincipal = cmp.Or(c.MaxPrincipal, 100)
	return c
}

// Errors that end or refuse streams.
var (
	errStreamExpired = chassi.NewError(chassi.Unavailable, "stream_expired", "The stream has reached its maximum age")
	errTokenExpired  = chassi.NewError(chassi.Unauthenticated, "token_expired", "The credentials have expired")
	errTooMany       = chassi.NewError(chassi.Unavailable, "too_many_streams", "Too many streams are open")
	errTooManyPeer   = chassi.NewError(chassi.ResourceExhausted, "too_many_streams", "This client has too many open streams")
	errTooManyNamed  = chassi.NewError(chassi.ResourceExhausted, "too_many_streams", "This principal has too many open streams")

	// ErrItemTooLarge ends a stream with an item that is too large to be sent.
	ErrItemTooLarge = chassi.NewError(chassi.ResourceExhausted, "item_too_large", "An item of the stream is too large")
	// ErrStalled ends a stream whose client does not read an item within the send timeout.
	ErrStalled = chassi.NewError(chassi.Canceled, "client_stalled", "The client did not read the stream")
	// ErrSilent ends a stream on a client if the server sends neither items nor heartbeats.
	ErrSilent = chassi.NewError(chassi.Unavailable, "stream_silent", "The server of the stream has stopped sending heartbeats")
	// ErrTruncated ends a stream on a client if the stream breaks off before the server ends it.
	ErrTruncated = chassi.NewError(chassi.Unavailable, "stream_truncated", "The stream was interrupted")
)

// silentIntervals is the number of heartbeat intervals for which a client waits for a message of a
// stream.
const silentIntervals = 3

// StreamPatience returns how long a client waits for a message of a stream whose response has the
// metadata m: three times the heartbeat interval in m, or three times the default interval if m has
// no valid interval.
func StreamPatience(m chassi.Metadata) time.Duration {
	every := StreamConfig{}.WithDefaults().Heartbeat
	if ms, err := strconv.ParseUint(m.Get(HeartbeatKey), 10, 31); err == nil && ms > 0 {
		every = time.Duration(ms) * time.Millisecond
	}
	return silentIntervals * every
}

// reconnectDelay returns a random delay of one to five seconds, so that clients whose streams end
// together do not reconnect together.
func reconnectDelay() time.Duration { return time.Second + rand.N(4*time.Second) }

// Streams is the set of open streams of a server. It is safe for concurrent use.
type Streams struct {
	config            StreamConfig
	peers, principals *ratelimit.Usage

	mu       sync.Mutex
	stopping bool
	open     map[*OpenStream]struct{}
}

// NewStreams returns an empty set of streams with the configuration c, in which every zero field
// means its default.
func NewStreams(c StreamConfig) *Streams {
	return &Streams{config: c.WithDefaults(), peers: ratelimit.NewUsage(), principals: ratelimit.NewUsage(), open: make(map[*OpenStream]struct{})}
}

// Config returns the configuration of the streams, including the defaults.
func (s *Streams) Config() StreamConfig { return s.config }

// Len returns the number of open streams.
func (s *Streams) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// OpenStream is a stream of a server that [Streams.Open] has admitted.
type OpenStream struct {
	streams         *Streams
	finite          bool
	end             context.CancelCauseFunc
	timer           *time.Timer
	peer, principal ratelimit.Key
	peers, named    bool // whether the stream counts for its peer, and for its principal
}

// Open admits a stream, for the Begin method of a [chassi.StreamCodec]. It returns the stream,
// which must be closed, and a context derived from ctx. The context is also canceled, with a
// [chassi.Error] as its cause, at the maximum age, when the principal's credentials expire, or,
// unless the endpoint is [chassi.Finite], when the server stops. Open returns an error if too many
// streams are open, or if the server is stopping and the endpoint is not finite.
func (s *Streams) Open(ctx context.Context, call *chassi.Call) (context.Context, *OpenStream, error) {
	o := &OpenStream{streams: s, finite: call.Endpoint.Finite()}
	if err := o.count(call); err != nil {
		return nil, nil, err
	}
	ctx, o.end = context.WithCancelCause(ctx)
	age, reason := s.config.MaxAge*9/10+rand.N(s.config.MaxAge/5), errStreamExpired.WithRetryAfter(reconnectDelay())
	if p := call.Principal; p != nil && !p.ExpiresAt.IsZero() && time.Until(p.ExpiresAt) < age {
		age, reason = time.Until(p.ExpiresAt), errTokenExpired
	}
	o.timer = time.AfterFunc(age, func() { o.end(reason) })
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping && !o.finite:
		o.release()
		return nil, nil, ErrStopping.WithRetryAfter(reconnectDelay())
	case len(s.open) >= s.config.Max:
		o.release()
		return nil, nil, errTooMany.WithRetryAfter(reconnectDelay())
	}
	s.open[o] = struct{}{}
	return ctx, o, nil
}

// count counts the stream for its client and its principal. It returns an error if the client or
// the principal has too many open streams.
func (o *OpenStream) count(call *chassi.Call) error {
	s := o.streams
	if source := call.Source(); source != "" {
		o.peer = ratelimit.StringKey(source)
		if !s.peers.Acquire(o.peer, 1, int64(s.config.MaxPeer)) {
			return errTooManyPeer.WithRetryAfter(time.Second)
		}
		o.peers = true
	}
	if p := call.Principal; p != nil {
		o.principal = ratelimit.StringKey(p.Scheme + ":" + p.Subject)
		if !s.principals.Acquire(o.principal, 1, int64(s.config.MaxPrincipal)) {
			o.release()
			return errTooManyNamed.WithRetryAfter(time.Second)
		}
		o.named = true
	}
	return nil
}

// End cancels the stream's context with reason as its cause, unless the context is already done.
func (o *OpenStream) End(reason error) { o.end(reason) }

// Close cancels the stream's context and stops counting the stream. It must be called exactly once.
func (o *OpenStream) Close() {
	s := o.streams
	s.mu.Lock()
	delete(s.open, o)
	s.mu.Unlock()
	o.release()
}

func (o *OpenStream) release() {
	if o.timer != nil {
		o.timer.Stop()
		o.end(context.Canceled)
	}
	if o.peers {
		o.streams.peers.Release(o.peer, 1)
	}
	if o.named {
		o.streams.principals.Release(o.principal, 1)
	}
}

// Fits returns nil if an encoded item of size bytes is small enough to be sent, and otherwise
// [ErrItemTooLarge] with a cause.
func (s *Streams) Fits(size int) error {
	if size > s.config.MaxItemBytes {
		return ErrItemTooLarge.WithCause(fmt.Errorf("the item has %d bytes, more than stream.max_item_bytes, %d", size, s.config.MaxItemBytes))
	}
	return nil
}

// Stop ends every subscription, which is a stream that is not [chassi.Finite], with [ErrStopping]
// and a random retry delay, and refuses further subscriptions. Finite streams continue. A server
// calls Stop when it accepts no further connections.
func (s *Streams) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for o := range s.open {
		if !o.finite {
			o.end(ErrStopping.WithRetryAfter(reconnectDelay()))
		}
	}
}
