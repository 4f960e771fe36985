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
	entered  chan time.Time // receives the deadline of each call of Wait when the call begins
	ended    chan error     // receives the context's error for each call of Wait whose context is done first
	released chan struct{}
	once     sync.Once
	running  atomic.Int64
	most     atomic.Int64 // maximum number of calls of Wait at once
	echoed   atomic.Int64
	sized    atomic.Int64
}

func newSuite() *suite {
	return &suite{entered: make(chan time.Time, 1000), ended: make(chan error, 1000), released: make(chan struct{})}
}

// release ends all calls of Wait.
func (s *suite) release() { s.once.Do(func() { close(s.released) }) }

func (s *suite) endpoints() *chassi.Service {
	return chassi.NewService("conformance.v1.Suite",
		chassi.NewEndpoint("Echo", s.echo, chassi.Route("POST /echo/{word}"), chassi.Public, chassi.Idempotent),
		chassi.NewEndpoint("Size", s.size, chassi.Route("POST /size"), chassi.Public),
		chassi.NewEndpoint("Check", s.check, chassi.Route("POST /check/{word}"), chassi.Public),
		chassi.NewEndpoint("Fail", s.fail, chassi.Route("POST /fail"), chassi.Public),
		chassi.NewEndpoint("Wait", s.wait, chassi.Route("POST /wait"), chassi.Public),
		chassi.NewEndpoint("Whoami", s.whoami, chassi.Route("GET /whoami")),
		chassi.NewEndpoint("Admin", s.whoami, chassi.Route("GET /admin"), chassi.Requires("admin")),
		// No transport can serve a request of type uncarried, so Mount returns an error unless it
		// skips this endpoint.
		chassi.NewEndpoint("Elsewhere", func(context.Context, *uncarried) (*Nothing, error) { return &Nothing{}, nil },
			chassi.Route("POST /elsewhere"), chassi.Public, chassi.Transports("elsewhere")),
	)
}

// Message is the request of Echo. It has fields of all kinds that transports encode differently.
type Message struct {
	Word   string           `json:"-" path:"word"`
	Text   string           `json:"text" validate:"max=10000"`
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

// Inner is a message that is nested in other messages.
type Inner struct {
	Name  string `json:"name"`
	Inner *Inner `json:"inner"`
}

// Echo is the response to a [Message].
type Echo struct {
	Message Message `json:"message"`
	Word    string  `json:"word"`
}

func (s *suite) echo(_ context.Context, m *Message) (*Echo, error) {
	s.echoed.Add(1)
	return &Echo{Message: *m, Word: m.Word}, nil
}

// Checked is the request of Check. Its fields have validation rules of several kinds.
type Checked struct {
	Word  string           `json:"word" path:"word" validate:"ne=bad"`
	Limit int              `json:"limit" query:"page_size" validate:"max=5"`
	Age   int32            `json:"age" validate:"min=18"`
	Maybe *int32           `json:"maybe" validate:"omitempty,min=1"`
	Parts []*Part          `json:"parts" validate:"max=2"`
	Named map[string]*Part `json:"named" validate:"dive,keys,max=3,endkeys"`
	Color Color            `json:"color"`
}

// Part is an element of a [Checked], with validation rules and a method Validate.
type Part struct {
	Name string   `json:"name" validate:"required,alpha"`
	Tags []string `json:"tags" validate:"dive,oneof=a b"`
}

// Validate returns an error for the name "nobody".
func (p *Part) Validate() error {
	if p.Name == "nobody" {
		return errors.New("must not be nobody")
	}
	return nil
}

// Color is encoded as text. Only text of at most 4 bytes can be decoded.
type Color struct{ name string }

// MarshalText implements [encoding.TextMarshaler].
func (c Color) MarshalText() ([]byte, error) { return []byte(c.name), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It returns an error if text is longer than 4
// bytes.
func (c *Color) UnmarshalText(text []byte) error {
	if c.name = string(text); len(text) > 4 {
		return fmt.Errorf("there is no color %q", text)
	}
	return nil
}

func (s *suite) check(context.Context, *Checked) (*Nothing, error) {
	s.echoed.Add(1)
	return &Nothing{}, nil
}

// uncarried has a field that no transport can encode.
type uncarried struct{ Do func() }

// unmountable has a field with an unknown validation rule.
type unmountable struct {
	Text string `json:"text" validate:"least=1"`
}

func unmountableService() *chassi.Service {
	try := func(context.Context, *unmountable) (*Nothing, error) { return &Nothing{}, nil }
	return chassi.NewService("conformance.v1.Broken", chassi.NewEndpoint("Try", try, chassi.Route("POST /broken"), chassi.Public))
}

// Failure is the request of Fail. It selects the error that Fail returns.
type Failure struct {
	Code   int32  `json:"code"`
	Secret string `json:"secret"`
	How    string `json:"how"` // "" for an error with Code, or the name of a case in the method fail
}

// Nothing is a request or a response without fields.
type Nothing struct{}

// Detail is a detail of an error, with fields of several types.
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

// Name and encoding of a detail that has no Go type: a message with a number in its first field.
const encodedName, encodedBytes = "other.v1.Message", "\x08\x96\x01"

// unsound is a detail that cannot be sent, because its method DetailName panics.
type unsound struct{}

func (unsound) DetailName() string { panic(hidden) }

// theError returns the error on which the errors of Fail with the given code are based.
func theError(code chassi.Code) *chassi.Error {
	return chassi.NewError(code, "reason_"+code.String(), "The message for "+code.String()+": é \"quoted\"")
}

// secret is a part of credentials and requests. It must not appear in the log or in a span.
const secret = "canary-7f3b" //nolint:gosec // a secret of the test

// hidden is the text of internal errors and panics. It must not appear in a response.
const hidden = "the hidden cause"

func (*suite) fail(ctx context.Context, f *Failure) (*Nothing, error) {
	switch f.How {
	case "response not ASCII":
		chassi.CallFrom(ctx).Out.Set("X-Reply", "grüße")
		return &Nothing{}, nil
	case "response name":
		chassi.CallFrom(ctx).Out.Set("X Response", "a")
		return &Nothing{}, nil
	case "response too much":
		chassi.CallFrom(ctx).Out.Set("X-Reply", strings.Repeat("x", 100<<10))
		return &Nothing{}, nil
	case "large message":
		e := theError(chassi.Code(f.Code))
		e.Message = "A long message" + strings.Repeat("é", 1<<20)
		for range 100 {
			e.Violations = append(e.Violations, chassi.Violation{Field: "field", Message: strings.Repeat("é", 20<<10)})
		}
		return nil, e
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

// Who is the response of Whoami and Admin. It describes the call as the server receives it.
type Who struct {
	Subject     string `json:"subject"`
	RequestID   string `json:"request_id"`
	Traceparent string `json:"traceparent"`
	Extra       string `json:"extra"`
}

func (*suite) whoami(ctx context.Context, _ *Nothing) (*Who, error) {
	call := chassi.CallFrom(ctx)
	call.Out.Set("X-Reply", replyValue)
	return &Who{Subject: call.Principal.Subject, RequestID: call.RequestID, Traceparent: call.In.Get("Traceparent"), Extra: call.In.Get("X-Extra")}, nil
}

// replyValue is the value of X-Reply in the metadata of the responses of Whoami and Admin.
const replyValue = "pair of the response"

var errToken = chassi.NewError(chassi.Unauthenticated, "invalid_token", "Invalid token")

// principalOf returns the principal of token, or errToken if the token is unknown.
func principalOf(_ context.Context, token string) (*chassi.Principal, error) {
	switch token {
	case "user-" + secret:
		return &chassi.Principal{Subject: "user", Scheme: "bearer"}, nil
	case "brief-" + secret:
		return &chassi.Principal{Subject: "brief", Scheme: "bearer", ExpiresAt: time.Now().Add(time.Second)}, nil
	case "admin-" + secret:
		return &chassi.Principal{Subject: "admin", Scheme: "bearer", Permissions: []string{"admin"}}, nil
	default:
		return nil, errToken
	}
}
