package transporttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
)

// suite is the service that the cases call.
type suite struct {
	entered  chan time.Time // a deadline for each call of Wait that has begun
	ended    chan error     // what ended its context, if that came first
	released chan struct{}
	once     sync.Once
	running  atomic.Int64
	most     atomic.Int64 // calls of Wait at once
	echoed   atomic.Int64
}

func newSuite() *suite {
	return &suite{entered: make(chan time.Time, 1000), ended: make(chan error, 1000), released: make(chan struct{})}
}

// release ends all calls of Wait.
func (s *suite) release() { s.once.Do(func() { close(s.released) }) }

func (s *suite) endpoints() *chassi.Service {
	return chassi.NewService("conformance.v1.Suite",
		chassi.NewEndpoint("Echo", s.echo, chassi.Route("POST /echo/{word}"), chassi.Public, chassi.Idempotent),
		chassi.NewEndpoint("Fail", s.fail, chassi.Route("POST /fail"), chassi.Public),
		chassi.NewEndpoint("Wait", s.wait, chassi.Route("POST /wait"), chassi.Public),
		chassi.NewEndpoint("Whoami", s.whoami, chassi.Route("GET /whoami")),
		chassi.NewEndpoint("Admin", s.whoami, chassi.Route("GET /admin"), chassi.Requires("admin")),
	)
}

// Message is echoed. It has a field of every kind that matters on a wire.
type Message struct {
	Word   string           `json:"-" path:"word"`
	Text   string           `json:"text" validate:"maxlength=10000"`
	Number int64            `json:"number"`
	Factor float64          `json:"factor"`
	List   []string         `json:"list"`
	Counts map[string]int32 `json:"counts"`
	At     time.Time        `json:"at"`
	Maybe  *bool            `json:"maybe"`
	Inner  Inner            `json:"inner"`
	Raw    []byte           `json:"raw"`
	More   []Inner          `json:"more"`
	Took   time.Duration    `json:"took"`
}

// Inner is a message in a message.
type Inner struct {
	Name  string `json:"name"`
	Inner *Inner `json:"inner"`
}

// Echo is the answer to a Message.
type Echo struct {
	Message Message `json:"message"`
	Word    string  `json:"word"`
}

func (s *suite) echo(_ context.Context, m *Message) (*Echo, error) {
	s.echoed.Add(1)
	return &Echo{Message: *m, Word: m.Word}, nil
}

// Failure asks for an error.
type Failure struct {
	Code   int32  `json:"code"`
	Secret string `json:"secret"`
	How    string `json:"how"` // "" for the code, else "hidden", "panic", "exit", "details", "large details", "no reason"
}

// Nothing is an answer without fields.
type Nothing struct{}

// Detail is a detail of an error.
type Detail struct {
	Text   string           `json:"text"`
	Number int64            `json:"number"`
	Took   time.Duration    `json:"took"`
	Raw    []byte           `json:"raw"`
	Counts map[string]int32 `json:"counts"`
	Inner  *Inner           `json:"inner"`
}

// DetailName implements [chassi.Detail].
func (Detail) DetailName() string { return "conformance.v1.Detail" }

func theDetail() *Detail {
	return &Detail{
		Text: "grüße \u2028 \"quoted\"", Number: -1 << 53, Took: 1500 * time.Millisecond, Raw: []byte{0, 255},
		Counts: map[string]int32{"k": -7}, Inner: &Inner{Name: "n"},
	}
}

// The encoded detail is a message with a number in its first field.
const encodedName, encodedBytes = "other.v1.Message", "\x08\x96\x01"

// unsound is a detail that cannot be sent.
type unsound struct{}

func (unsound) DetailName() string { panic(hidden) }

// theError is what Fail answers for a code.
func theError(code chassi.Code) *chassi.Error {
	return chassi.NewError(code, "reason_"+code.String(), "The message for "+code.String()+": é \"quoted\"")
}

// secret must reach no caller and stand in no log.
const secret = "canary-7f3b" //nolint:gosec // a secret of the test

// hidden must reach no caller.
const hidden = "the hidden cause"

func (*suite) fail(_ context.Context, f *Failure) (*Nothing, error) {
	switch f.How {
	case "hidden":
		return nil, errors.New(hidden)
	case "panic":
		panic(hidden)
	case "exit":
		var nothing *suite
		nothing.running.Add(1)
	case "details":
		return nil, fmt.Errorf("%s: %w", hidden, theError(chassi.Code(f.Code)).WithDetails(theDetail(), &chassi.EncodedDetail{Name: encodedName, Protobuf: []byte(encodedBytes)}))
	case "no reason":
		return nil, &chassi.Error{Code: chassi.Code(f.Code), Message: "A message"}
	case "large details":
		large := theDetail()
		large.Text = strings.Repeat("é", 40<<10)
		details := []chassi.Detail{large, unsound{}}
		for range 1000 {
			details = append(details, theDetail())
		}
		return nil, theError(chassi.Code(f.Code)).WithDetails(details...)
	}
	e := theError(chassi.Code(f.Code)).WithCause(errors.New(hidden)).WithRetryAfter(2 * time.Second)
	return nil, e.WithViolations(chassi.Violation{Field: "list[0].name", Message: "must not be é"}, chassi.Violation{Message: "and more"})
}

func (s *suite) wait(ctx context.Context, _ *Nothing) (*Echo, error) {
	running := s.running.Add(1)
	defer s.running.Add(-1)
	for most := s.most.Load(); running > most && !s.most.CompareAndSwap(most, running); {
		most = s.most.Load()
	}
	deadline, _ := ctx.Deadline()
	s.entered <- deadline
	select {
	case <-s.released:
		return &Echo{Word: "released"}, nil
	case <-ctx.Done():
		s.ended <- ctx.Err()
		return nil, ctx.Err()
	}
}

// Who tells how the server saw a call.
type Who struct {
	Subject     string `json:"subject"`
	RequestID   string `json:"request_id"`
	Traceparent string `json:"traceparent"`
	Extra       string `json:"extra"`
}

func (*suite) whoami(ctx context.Context, _ *Nothing) (*Who, error) {
	call := chassi.CallFrom(ctx)
	call.Out.Set("X-Answer", "pair of the answer")
	return &Who{Subject: call.Principal.Subject, RequestID: call.RequestID, Traceparent: call.In.Get("Traceparent"), Extra: call.In.Get("X-Extra")}, nil
}

var errToken = chassi.NewError(chassi.Unauthenticated, "invalid_token", "Invalid token")

// principalOf knows three tokens.
func principalOf(_ context.Context, token string) (*chassi.Principal, error) {
	switch token {
	case "user-" + secret:
		return &chassi.Principal{Subject: "user", Scheme: "bearer"}, nil
	case "admin-" + secret:
		return &chassi.Principal{Subject: "admin", Scheme: "bearer", Permissions: []string{"admin"}}, nil
	default:
		return nil, errToken
	}
}
