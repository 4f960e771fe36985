package chassi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
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
		chassi.Deadline(time.Second), chassi.RateLimit(5, time.Minute), chassi.Idempotent, chassi.CacheFor(time.Hour))
	if err := chassi.NewService("greet.v1.Greeter", e).Err(); err != nil {
		t.Fatal(err)
	}
	method, path := e.Route()
	got := []any{
		e.Name(), e.FullName(), method, path, e.Public(), e.Permissions(), e.Status(), e.Deadline(), e.Rate(), e.Idempotent(), e.CacheFor(),
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
	got := []any{e.FullName(), method, path, e.Public(), len(e.Permissions()), e.Status(), e.Deadline(), e.Rate(), e.Idempotent(), e.Err()}
	want := []any{"Greet", "", "", false, 0, 200, time.Duration(0), chassi.Rate{}, false, nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
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
		"deadline":               {with(chassi.Deadline(0)), "deadline that is not positive"},
		"rate of nothing":        {with(chassi.RateLimit(0, time.Second)), "rate limit that is not positive"},
		"rate in no time":        {with(chassi.RateLimit(1, 0)), "rate limit that is not positive"},
		"cache":                  {with(chassi.CacheFor(-1)), "cached for a time that is not positive"},
		"nil option":             {with(nil), "has an option that is nil"},
		"two policies":           {with(chassi.Requires("admin"), chassi.Public), "has two policies"},
		"no permission":          {with(chassi.Requires()), "requires permissions []"},
		"empty permission":       {with(chassi.Requires("a", "")), "requires permissions"},
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
		chassi.NewEndpoint("Greet", greet, chassi.Route("nowhere"), chassi.Status(500), chassi.Deadline(-1)),
		chassi.NewEndpoint("Greet", greet),
		chassi.NewEndpoint("not exported", greet),
		chassi.RawEndpoint("Raw", func(context.Context, *chassi.Call) error { return nil }),
		elsewhere,
		nil,
	).Use(nil)
	text := s.Err().Error()
	for _, want := range []string{
		`service name "no good"`, `route "nowhere"`, "status 500", "deadline that is not positive", "two endpoints Greet",
		`endpoint name "not exported"`, "Raw is raw", "other.v1.Other/Elsewhere belongs to a service already", "endpoint that is nil", "middleware that is nil",
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
