package chassi_test

import (
	"context"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/localapi"
	"github.com/google/go-cmp/cmp"
)

type (
	request  struct{ Name string }
	response struct{ Text string }
	nothing  struct{}
)

func greet(_ context.Context, r *request) (*response, error) {
	return &response{Text: "Hello, " + r.Name}, nil
}

func TestEndpointCarriesItsOptions(t *testing.T) {
	t.Parallel()
	e := chassi.NewEndpoint("Greet", greet,
		chassi.Route("POST /v1/greet/{name}"), chassi.Requires("greet", "shout"), chassi.Status(201),
		chassi.Timeout(time.Second), chassi.RateLimit(5, time.Minute), chassi.Idempotent, chassi.CacheFor(time.Hour))
	if err := chassi.NewService("greet.v1.Greeter", e).Err(); err != nil {
		t.Fatal(err)
	}
	method, path := e.Route()
	got := []any{
		e.Name(), e.FullName(), method, path, e.Public(), e.Permissions(), e.Status(), e.Timeout(), e.Rate(), e.Idempotent(), e.CacheFor(),
		e.RequestType().Name(), e.ResponseType().Name(),
	}
	want := []any{
		"Greet", "greet.v1.Greeter/Greet", "POST", "/v1/greet/{name}", false, []string{"greet", "shout"}, 201, time.Second,
		chassi.Rate{Calls: 5, Per: time.Minute}, true, time.Hour, "request", "response",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEndpointDefaults(t *testing.T) {
	t.Parallel()
	e := chassi.NewEndpoint("Greet", greet)
	method, path := e.Route()
	got := []any{e.FullName(), method, path, e.Public(), len(e.Permissions()), e.Status(), e.Timeout(), e.Rate(), e.Idempotent(), e.Err()}
	want := []any{"Greet", "", "", false, 0, 200, time.Duration(0), chassi.Rate{}, false, nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTransports(t *testing.T) {
	t.Parallel()
	all, two := chassi.NewEndpoint("All", greet), chassi.NewEndpoint("Two", greet, chassi.Transports("http", "grpc"))
	if all.Transports() != nil || !all.ServedOver("anything") || !slices.Equal(two.Transports(), []string{"http", "grpc"}) {
		t.Errorf("Transports() = %q and %q", all.Transports(), two.Transports())
	}
	if !two.ServedOver("nats", "grpc") || two.ServedOver("nats", "amqp") || two.ServedOver() {
		t.Error("the two transports are others")
	}
}

func TestStatusOfAnEmptyResponseIs204(t *testing.T) {
	t.Parallel()
	method := func(context.Context, *request) (*nothing, error) { return &nothing{}, nil }
	if got := chassi.NewEndpoint("Drop", method).Status(); got != 204 {
		t.Errorf("Status() = %d, want 204", got)
	}
	if got := chassi.NewEndpoint("Drop", method, chassi.Status(202)).Status(); got != 202 {
		t.Errorf("Status() = %d, want the one asked for, 202", got)
	}
}

type file struct{ File chassi.File }

func streamOf[Req, Item any]() *chassi.Endpoint {
	return chassi.NewStream("Watch", func(context.Context, *Req) (iter.Seq2[*Item, error], error) { return nil, nil })
}

func TestOneMistakeEach(t *testing.T) {
	t.Parallel()
	number := func(context.Context, *int) (*string, error) { return nil, nil }
	with := func(o ...chassi.EndpointOption) *chassi.Endpoint { return chassi.NewEndpoint("Greet", greet, o...) }
	cases := map[string]struct {
		e    *chassi.Endpoint
		want string
	}{
		"no method":              {chassi.NewEndpoint[request, response]("Greet", nil), "has no method"},
		"messages not structs":   {chassi.NewEndpoint("Greet", number), "takes int, not a struct"},
		"route without a method": {with(chassi.Route("/v1/greet")), `has route "/v1/greet"`},
		"route without a slash":  {with(chassi.Route("GET v1")), `has route "GET v1"`},
		"route in lower case":    {with(chassi.Route("get /v1")), `has route "get /v1"`},
		"empty route":            {with(chassi.Route("")), `has route ""`},
		"status of an error":     {with(chassi.Status(404)), "has status 404: want 200 to 299"},
		"deadline":               {with(chassi.Timeout(0)), "timeout that is not positive"},
		"rate of nothing":        {with(chassi.RateLimit(0, time.Second)), "rate limit that is not positive"},
		"rate in no time":        {with(chassi.RateLimit(1, 0)), "rate limit that is not positive"},
		"cache":                  {with(chassi.CacheFor(-1)), "cached for a time that is not positive"},
		"no transport":           {with(chassi.Transports()), "has transports []"},
		"transport's address":    {with(chassi.Transports("http", "HTTP")), `has transports ["http" "HTTP"]: want names`},
		"nil option":             {with(nil), "has an option that is nil"},
		"two policies":           {with(chassi.Requires("admin"), chassi.Public), "has two policies"},
		"no permission":          {with(chassi.Requires()), "requires permissions []"},
		"empty permission":       {with(chassi.Requires("a", "")), "requires permissions"},
		"stream of files":        {streamOf[request, file](), "has a file, which a stream does not carry"},
		"stream for a file":      {streamOf[file, response](), "has a file, which a stream does not carry"},
		"raw without a handler":  {chassi.RawEndpoint("raw", nil), "has no handler"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := c.e.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Err() = %v, want %q in it", err, c.want)
			}
			_, _ = c.e.Status(), c.e.FullName() // must not panic on a faulty endpoint
		})
	}
}

func TestServiceReportsAllMistakesTogether(t *testing.T) {
	t.Parallel()
	elsewhere := chassi.NewEndpoint("Elsewhere", greet)
	chassi.NewService("other.v1.Other", elsewhere)
	s := chassi.NewService("no good",
		chassi.NewEndpoint("Greet", greet, chassi.Route("nowhere"), chassi.Status(500), chassi.Timeout(-1)),
		chassi.NewEndpoint("Greet", greet),
		chassi.NewEndpoint("not exported", greet),
		chassi.RawEndpoint("raw", func(context.Context, *chassi.Call) error { return nil }),
		elsewhere,
		nil,
	).Use(nil)
	text := s.Err().Error()
	for _, want := range []string{
		`service name "no good"`, `route "nowhere"`, "status 500", "timeout that is not positive", "two endpoints named Greet",
		`endpoint name "not exported"`, `endpoint name "raw"`, "other.v1.Other/Elsewhere already belongs to a service", "nil endpoint", "nil middleware",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the error does not say %s:\n%s", want, text)
		}
	}
	if elsewhere.FullName() != "other.v1.Other/Elsewhere" {
		t.Errorf("the borrowed endpoint was taken away: %s", elsewhere.FullName())
	}
	for _, e := range s.Endpoints() {
		if e == nil {
			t.Error("Endpoints has a nil one: transports would panic on it")
		}
	}
}

func TestServiceNames(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"auth.v1.Auth": true, "Auth": true, "my_co.auth.v1.Auth": true,
		"": false, ".": false, "auth.": false, ".auth": false, "auth..v1": false, "auth/v1": false, "1auth": false, "auth v1": false, "auth.v1\n": false,
	} {
		if err := chassi.NewService(name).Err(); (err == nil) != good {
			t.Errorf("service name %q: Err() = %v", name, err)
		}
	}
}

func TestServiceFindsEndpoints(t *testing.T) {
	t.Parallel()
	a, b := chassi.NewEndpoint("A", greet), chassi.NewEndpoint("B", greet)
	s := chassi.NewService("greet.v1.Greeter", a, b)
	if s.Name() != "greet.v1.Greeter" || len(s.Endpoints()) != 2 || s.Endpoints()[1] != b {
		t.Errorf("%s has %v", s.Name(), s.Endpoints())
	}
	if s.Endpoint("A") != a || s.Endpoint("C") != nil {
		t.Error("Endpoint finds the wrong one")
	}
}

// Nothing that an endpoint or a service gives away can change it.
func TestEndpointsDoNotChange(t *testing.T) {
	t.Parallel()
	permissions, refused := []string{"read"}, chassi.NewError(chassi.NotFound, "gone", "It is gone")
	e := chassi.NewEndpoint("Greet", greet, chassi.Requires(permissions...), chassi.Errors(refused))
	s := chassi.NewService("greet.v1.Greet", e)
	s.Document("Greet", map[string]string{"X-Key": "one for each call"})
	permissions[0] = ""
	e.Permissions()[0], e.Errors()[0], e.Headers()["X-Key"], s.Endpoints()[0] = "", nil, "", nil
	if e.Permissions()[0] != "read" || e.Errors()[0] != refused || e.Headers()["X-Key"] == "" || s.Endpoints()[0] != e {
		t.Errorf("%v %v %v %v", e.Permissions(), e.Errors(), e.Headers(), s.Endpoints())
	}
	option := reflect.TypeFor[chassi.EndpointOption]()
	if arg := option.In(0); reflect.TypeFor[*chassi.Endpoint]().AssignableTo(arg) {
		t.Errorf("an option takes %v, so that it can change an endpoint later", arg)
	}
}

// Middleware that comes after a transport serves the endpoints would be left out there.
func TestUseAfterMount(t *testing.T) {
	t.Parallel()
	s := chassi.NewService("greet.v1.Greet", chassi.NewEndpoint("Greet", greet))
	app, server := newApp(chassi.AppOptions{}), localapi.New()
	app.AddServer(server)
	app.Mount(s)
	s.Use(func(_ *chassi.Binding, next chassi.Handler) chassi.Handler { return next })
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that an App without a complaint ends
	wantText(t, app.Run(ctx), "greet.v1.Greet", "call Use before Mount")
}
