package httpapi_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/google/go-cmp/cmp"
)

// mixed has a parameter of each type that HTTP carries outside of the body.
type mixed struct {
	ID    int64         `path:"id"`
	Flag  bool          `json:"-" query:"flag"`
	Count uint8         `json:"-" query:"count"`
	Ratio float32       `json:"-" query:"ratio"`
	Wait  time.Duration `json:"-" query:"wait"`
	At    time.Time     `json:"-" query:"at"`
	Addr  netip.Addr    `json:"-" header:"X-Test-Addr"`
	Limit *int          `json:"-" query:"limit"`
	Sizes []int16       `json:"-" query:"size"`
	Text  string        `json:"text"`
}

// serveMixed serves an endpoint that stores its request in *arrived.
func serveMixed(t *testing.T, arrived *mixed) (*httptest.Server, *chassi.Service) {
	t.Helper()
	s, err := httpapi.New(httpapi.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	put := func(_ context.Context, r *mixed) (*struct{}, error) { *arrived = *r; return &struct{}{}, nil }
	service := chassi.NewService("x.v1.X", chassi.NewEndpoint("Put", put, chassi.Route("PUT /mixed/{id}"), chassi.Public))
	if err := s.Mount(service); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server, service
}

// A parameter of each type arrives as it was sent, and a zero value is not sent.
func TestParametersOfEachTypeArrive(t *testing.T) {
	t.Parallel()
	var arrived mixed
	server, service := serveMixed(t, &arrived)
	var query string
	inner := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		inner.ServeHTTP(w, r)
	})
	remote, err := httpapi.NewClient(httpapi.ClientConfig{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remote.Close)
	c, err := client.New(service, remote)
	if err != nil {
		t.Fatal(err)
	}
	zero, five := 0, 5
	addr, at := netip.MustParseAddr("2001:db8::1"), time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for want, sent := range map[string]mixed{
		"": {ID: -7, Addr: addr, Text: "x"},
		"at=2026-01-02T03%3A04%3A05.000000006Z&count=255&flag=true&limit=5&ratio=0.1&size=-1&size=2&wait=1m30s": {
			Flag: true, Count: 255, Ratio: 0.1, Wait: 90 * time.Second, At: at, Addr: addr, Limit: &five, Sizes: []int16{-1, 2},
		},
		"limit=0": {ID: 1, Addr: addr, Limit: &zero},
	} {
		before := sent
		if _, err := client.Invoke[struct{}](t.Context(), c, "Put", &sent); err != nil {
			t.Errorf("%+v: %v", sent, err)
			continue
		}
		same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
		if diff := cmp.Diff(before, arrived, same); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, sent, same); diff != "" {
			t.Errorf("the client changed the request: %s", diff)
		}
		if query != want {
			t.Errorf("sent %q, want %q", query, want)
		}
	}
}

// A parameter that does not fit its field is named, with what would be right, together with
// all others.
func TestMalformedParametersAreNamed(t *testing.T) {
	t.Parallel()
	var arrived mixed
	server, _ := serveMixed(t, &arrived)
	put := func(path, body, addr string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Test-Addr", addr)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	for path, want := range map[string]string{
		"/mixed/1.5":                                   `"field":"id","message":"must be a whole number from -9223372036854775808 to 9223372036854775807"`,
		"/mixed/1?flag=yes":                            `"field":"flag","message":"must be true or false"`,
		"/mixed/1?flag=":                               `"field":"flag","message":"must be true or false"`,
		"/mixed/1?count=256":                           `"field":"count","message":"must be a whole number from 0 to 255"`,
		"/mixed/1?count=-1":                            `"field":"count","message":"must be a whole number from 0 to 255"`,
		"/mixed/1?ratio=1e39":                          `"field":"ratio","message":"must be a number from -3.4028234663852886e+38 to 3.4028234663852886e+38"`,
		"/mixed/1?ratio=NaN":                           `"field":"ratio","message":"must be a number from -3.4`,
		"/mixed/1?ratio=Inf":                           `"field":"ratio","message":"must be a number from -3.4`,
		"/mixed/1?ratio=-Inf":                          `"field":"ratio","message":"must be a number from -3.4`,
		"/mixed/1?wait=90":                             `"field":"wait","message":"must be a duration such as 1m30s, within 292 years"`,
		"/mixed/1?at=today":                            `"field":"at","message":"must be a time such as 2006-01-02T15:04:05Z"`,
		"/mixed/1?limit=":                              `"field":"limit","message":"must be a whole number from -9223372036854775808 to 9223372036854775807"`,
		"/mixed/1?size=1&size=32768":                   `"field":"size","message":"must be a whole number from -32768 to 32767"`,
		"/mixed/1?flag=yes&wait=x":                     `{"field":"flag","message":"must be true or false"},{"field":"wait"`,
		"/mixed/1?flag=%zz":                            `"message":"the query is not well-formed"`,
		"/mixed/1?flag=true&flag=true":                 `"field":"flag","message":"must be given once, not 2 times"`,
		"/mixed/1?" + strings.Repeat("x", 1000) + "=1": `xxx…","message":"is not a known query parameter"`,
	} {
		if status, text := put(path, "", "::1"); status != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s, want %s", path, status, text, want)
		}
	}
	if status, text := put("/mixed/1", `{"text":"x"}`, "here"); status != http.StatusBadRequest || !strings.Contains(text, `"field":"X-Test-Addr"`) {
		t.Errorf("an address: %d %s", status, text)
	}
	if status, text := put("/mixed/1", `{"ID":5}`, "::1"); status != http.StatusBadRequest || !strings.Contains(text, `"field":"id","message":"must be in the path, not in the body"`) {
		t.Errorf("a parameter in the body: %d %s", status, text)
	}
	if status, text := put("/mixed/-1?ratio=-1e38", `{"text":"x"}`, "::1"); status != http.StatusNoContent || arrived.Ratio != -1e38 || arrived.ID != -1 {
		t.Errorf("%d %s, %+v", status, text, arrived)
	}
}

// unsendable is a text that cannot be written.
type unsendable string

func (unsendable) MarshalText() ([]byte, error)  { return nil, errors.New("not today") }
func (*unsendable) UnmarshalText(_ []byte) error { return nil }

type fromPointer struct {
	*Place
	Mood unsendable `json:"-" header:"X-Mood"`
	Note string     `json:"-" header:"X-Note"`
}

// Place is embedded by pointer.
type Place struct {
	ID   string `json:"-" path:"id"`
	Rest string `json:"-" path:"rest"`
}

// A request that cannot be written is refused, naming the field, before anything is sent.
func TestRequestsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent to %s", r.URL) }))
	defer server.Close()
	remote, err := httpapi.NewClient(httpapi.ClientConfig{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	type plain struct {
		ID   string `json:"-" path:"id"`
		Rest string `json:"-" path:"rest"`
		Note string `json:"-" header:"X-Note"`
	}
	route := chassi.Route("GET /x/{id}/y/{rest...}")
	c, err := client.New(chassi.NewService("x.v1.X",
		chassi.NewEndpoint("Pointer", refusedNoop[fromPointer, struct{}], route, chassi.Public),
		chassi.NewEndpoint("Plain", refusedNoop[plain, struct{}], route, chassi.Public),
	), remote)
	if err != nil {
		t.Fatal(err)
	}
	check := func(err error, field, message string) {
		t.Helper()
		e := chassi.ErrorOf(err)
		if e == nil || e.Code != chassi.InvalidArgument || e.Reason != "malformed_request" {
			t.Errorf("%v, want %s %s", err, field, message)
		} else if field != "" && (len(e.Violations) != 1 || e.Violations[0].Field != field || !strings.Contains(e.Violations[0].Message, message)) {
			t.Errorf("%v, want %s %s", e.Violations, field, message)
		}
	}
	_, err = client.Invoke[struct{}](t.Context(), c, "Pointer", &fromPointer{})
	if check(err, "", ""); !strings.Contains(chassi.ErrorOf(err).Cause.Error(), "the path parameter id is missing") {
		t.Errorf("%v", chassi.ErrorOf(err).Cause)
	}
	_, err = client.Invoke[struct{}](t.Context(), c, "Pointer", &fromPointer{Place: &Place{ID: "a", Rest: "b"}, Mood: "x"})
	check(err, "X-Mood", "not today")
	for _, bad := range []plain{{ID: "", Rest: "r"}, {ID: ".", Rest: "r"}, {ID: "..", Rest: "r"}, {ID: "/", Rest: "r"}, {ID: "a\x00", Rest: "r"}} {
		_, err := client.Invoke[struct{}](t.Context(), c, "Plain", &bad)
		check(err, "id", "must not")
	}
	for _, bad := range []plain{{ID: "a", Rest: "x//y"}, {ID: "a", Rest: "x/./y"}, {ID: "a", Rest: ".."}, {ID: "a", Rest: "/x"}, {ID: "a", Rest: "a\x00"}} {
		_, err := client.Invoke[struct{}](t.Context(), c, "Plain", &bad)
		check(err, "rest", "must not")
	}
	for _, bad := range []string{"a\nb", " a", "a\t", "\x7f"} {
		_, err := client.Invoke[struct{}](t.Context(), c, "Plain", &plain{ID: "a", Rest: "r", Note: bad})
		check(err, "X-Note", "must not contain control characters")
	}
}

// The tags of a request and the wildcards of its route fit each other.
func TestTagsFitTheRoute(t *testing.T) {
	t.Parallel()
	type byID struct {
		ID string `json:"-" path:"id"`
	}
	type structured struct {
		Q struct{ A int } `json:"-" query:"q"`
	}
	for want, e := range map[string]*chassi.Endpoint{
		"field ID: path /x has no {id}":                       chassi.NewEndpoint("Do", refusedNoop[byID, struct{}], chassi.Route("GET /x")),
		`no field of struct {} has the tag path:"id"`:         chassi.NewEndpoint("Do", refusedNoop[struct{}, struct{}], chassi.Route("GET /x/{id...}")),
		"field Q: the type struct { A int } has no text form": chassi.NewEndpoint("Do", refusedNoop[structured, struct{}], chassi.Route("GET /x")),
		"GET has no body":                                     chassi.NewEndpoint("Do", refusedNoop[struct{ A int }, struct{}], chassi.Route("GET /x")),
	} {
		s, err := httpapi.New(httpapi.Config{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Mount(chassi.NewService("a.v1.A", e)); err == nil || !strings.Contains(err.Error(), "a.v1.A/Do") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s, err := httpapi.New(httpapi.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	end := chassi.NewEndpoint("Do", refusedNoop[byID, struct{}], chassi.Route("GET /x/{id}/{$}"), chassi.Public)
	if err := s.Mount(chassi.NewService("a.v1.A", end)); err != nil {
		t.Error(err)
	}
}
