package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getsentry/sentry-go"
	"go.opentelemetry.io/otel/trace"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/redact"
)

// SentryConfig configures the error tracker, which is disabled if DSN is empty.
type SentryConfig struct {
	DSN         string `config:"dsn" secret:"true" help:"DSN of the project on a server with Sentry's protocol; empty disables exception tracking"`
	Environment string `config:"environment" default:"production" help:"environment shown with each exception"`
}

// Reporter reports server errors, including recovered panics, to an error tracker.
type Reporter interface {
	// Report reports err unless it is nil. It must not block, and must not retain ctx.
	Report(ctx context.Context, err error)
}

type noReporter struct{}

func (noReporter) Report(context.Context, error) {}

const (
	faultQueue   = 100
	faultTimeout = 5 * time.Second // for one report
)

// tracker sends errors to a server with Sentry's protocol, one at a time. It sends the type, code,
// reason and text of an error, the stack of a panic, and the IDs, transport, method and route of
// the call. Possible secrets and e-mail addresses in the text are masked. It sends no request,
// response, metadata or client address.
type tracker struct {
	client    *sentry.Client
	transport *transport
	queue     chan fault
	quit      chan struct{}
	done      chan struct{}
	quitting  sync.Once
	outage    *outage.Log

	sent, refused, failed atomic.Uint64
}

// fault contains the data of an error that is to be sent. The data is collected while
// the call is running.
type fault struct {
	at         time.Time
	kind, text string
	stack      []byte // of a panic
	tags       map[string]string
	where      string
}

// newTracker returns a running tracker, or nil if the DSN is empty. It returns an error
// if the DSN is invalid.
func newTracker(c SentryConfig, service, version string, logger *slog.Logger) (*tracker, error) {
	if c.DSN == "" {
		return nil, nil //nolint:nilnil // off
	}
	life, giveUp := context.WithCancel(context.Background())
	t := &tracker{
		transport: &transport{life: life, giveUp: giveUp, sync: sentry.NewHTTPSyncTransport()},
		queue:     make(chan fault, faultQueue),
		quit:      make(chan struct{}), done: make(chan struct{}),
		outage: outage.New(logger, slog.LevelWarn, "an exception was not delivered to the tracker", "exceptions are delivered to the tracker again"),
	}
	t.transport.sync.Timeout = faultTimeout
	client, err := sentry.NewClient(sentry.ClientOptions{
		Dsn: c.DSN, Environment: c.Environment, Release: service + "@" + version, ServerName: service,
		Integrations:         func([]sentry.Integration) []sentry.Integration { return nil },
		DisableClientReports: true,
		Transport:            t.transport, HTTPTransport: t.transport,
	})
	if err != nil {
		giveUp()
		return nil, errors.New("telemetry: sentry.dsn is not a valid DSN: want https://KEY@HOST/PROJECT")
	}
	t.client = client
	go t.run()
	return t, nil
}

// Report implements [Reporter]. If the queue is full, it drops err and counts it as refused.
func (t *tracker) Report(ctx context.Context, err error) {
	if err == nil {
		return
	}
	select {
	case t.queue <- faultOf(ctx, err):
	default:
		t.refused.Add(1)
	}
}

func faultOf(ctx context.Context, err error) (f fault) {
	f = fault{at: time.Now(), tags: make(map[string]string)}
	defer func() {
		if p := recover(); p != nil { // of the error's own methods
			f.kind, f.text = "panic", "an error that panics when asked for its text"
		}
	}()
	f.tagCall(ctx)
	seen := chassi.ErrorOf(err)
	f.tags["code"], f.tags["reason"] = seen.Code.String(), seen.Reason
	cause := err
	if seen.Cause != nil {
		cause = seen.Cause
	}
	f.text = cause.Error()
	f.kind = fmt.Sprintf("%T", root(cause))
	if p, ok := errors.AsType[*chassi.PanicError](err); ok {
		f.kind, f.stack = "panic", p.Stack
	}
	return f
}

func root(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func (f *fault) tagCall(ctx context.Context) {
	if call := chassi.CallFrom(ctx); call != nil {
		f.tags["request_id"] = call.RequestID
		if call.Binding != nil {
			f.tags["transport"], f.tags["method"], f.tags["route"] = call.Transport, call.Method, call.Route
			f.where = call.Route
		}
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		f.tags["trace_id"] = span.TraceID().String()
	}
}

func (t *tracker) run() {
	defer close(t.done)
	for {
		select {
		case f := <-t.queue:
			t.send(f)
		case <-t.quit:
			t.sendRest()
			return
		}
	}
}

func (t *tracker) sendRest() {
	for {
		select {
		case f := <-t.queue:
			t.send(f)
		default:
			return
		}
	}
}

func (t *tracker) send(f fault) {
	t.transport.err = errNotSent
	t.client.CaptureEvent(f.event(), nil, nil)
	if t.transport.err == nil {
		t.sent.Add(1)
		t.outage.Succeeded()
		return
	}
	t.outage.Failed(t.transport.err, "failed_in_all", t.failed.Add(1))
}

func (f *fault) event() *sentry.Event {
	e := sentry.NewEvent()
	e.Level, e.Timestamp, e.Tags, e.Transaction = sentry.LevelError, f.at, f.tags, f.where
	x := sentry.Exception{Type: f.kind, Value: scrub(f.text)}
	if f.stack != nil {
		e.Level = sentry.LevelFatal
		x.Stacktrace = &sentry.Stacktrace{Frames: frames(f.stack)}
	}
	e.Exception = []sentry.Exception{x}
	return e
}

// stop sends the waiting errors until soon is done, and drops the rest. It returns when
// the queue is empty or ctx is done.
func (t *tracker) stop(ctx, soon context.Context) {
	t.quitting.Do(func() { close(t.quit) })
	defer context.AfterFunc(soon, t.transport.giveUp)()
	select {
	case <-t.done:
	case <-ctx.Done():
	}
	t.transport.giveUp()
	t.client.Close()
}

// errNotSent is the error for an event that the client dropped before sending it, usually because
// the error tracker has requested a pause.
var errNotSent = errors.New("the event was not sent: the tracker requested a pause, or the event could not be encoded")

// transport sends events in the tracker's goroutine until life is done. It records in err
// whether the server accepted the latest event.
type transport struct {
	sync   *sentry.HTTPSyncTransport
	http   *http.Transport
	life   context.Context
	giveUp context.CancelFunc
	err    error // why the event was not delivered, nil if it was
}

// Configure implements [sentry.Transport].
func (t *transport) Configure(o sentry.ClientOptions) {
	t.http = &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	t.sync.Configure(o)
}

// SendEvent implements [sentry.Transport].
func (t *transport) SendEvent(e *sentry.Event) { t.sync.SendEventWithContext(t.life, e) }

// RoundTrip implements [http.RoundTripper]. It returns an error for a redirect, which would
// carry the key of the project to another server.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.http.RoundTrip(r)
	if t.err = err; err != nil {
		return nil, err //nolint:wrapcheck // the transport's own
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		t.err = errors.New("the tracker responded with " + redact.Text(response.Status, 64))
	}
	if response.StatusCode >= http.StatusMultipleChoices && response.StatusCode < http.StatusBadRequest {
		return nil, errors.Join(t.err, response.Body.Close())
	}
	shortenPause(response.Header)
	return response, nil
}

// maxPause is the maximum pause that the error tracker may request, in seconds.
const maxPause = 300

// shortenPause limits the pause that a response requests: it replaces a pause that is longer than
// maxPause, or is not a number of seconds, with maxPause.
func shortenPause(h http.Header) {
	pause := strconv.Itoa(maxPause)
	for limit := range strings.SplitSeq(h.Get("X-Sentry-Rate-Limits"), ",") {
		seconds, _, _ := strings.Cut(strings.TrimSpace(limit), ":")
		if n, err := strconv.ParseFloat(seconds, 64); limit != "" && (err != nil || !(n <= maxPause)) {
			h.Set("X-Sentry-Rate-Limits", pause+"::organization")
		}
	}
	if after := h.Get("Retry-After"); after != "" {
		if n, err := strconv.Atoi(after); err != nil || n > maxPause {
			h.Set("Retry-After", pause)
		}
	}
}

// Flush implements [sentry.Transport]. It is a no-op.
func (*transport) Flush(time.Duration) bool { return true }

// FlushWithContext implements [sentry.Transport]. It is a no-op.
func (*transport) FlushWithContext(context.Context) bool { return true }

// Close implements [sentry.Transport]. It closes idle connections.
func (t *transport) Close() { t.http.CloseIdleConnections() }

var (
	_ Reporter         = (*tracker)(nil)
	_ sentry.Transport = (*transport)(nil)
)
