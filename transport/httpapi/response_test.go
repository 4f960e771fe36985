package httpapi

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

type (
	choice struct {
		Status int `json:"status"`
	}
	created struct {
		ID       string       `json:"id"`
		Location string       `json:"location" header:"Location"`
		Version  int          `json:"-" header:"X-Version"`
		Session  *http.Cookie `json:"-" cookie:"session"`
		Status   int          `json:"-" status:"200,201,303,204"`
	}
	moved struct {
		Location string `json:"-" header:"Location"`
		Status   int    `json:"-" status:"302"`
	}
)

// The fields of a response become headers, a cookie and the status, which the typed client reads.
func TestResponseFields(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	service := chassi.NewService("data.v1.Data",
		chassi.NewEndpoint("Create", func(_ context.Context, r *choice) (*created, error) {
			return &created{ID: "7", Location: "/things/7", Version: 3, Session: &http.Cookie{Value: "s", Path: "/", HttpOnly: true}, Status: r.Status}, nil
		}, chassi.Route("POST /things"), chassi.Public),
		chassi.NewEndpoint("Move", func(context.Context, *struct{}) (*moved, error) { return &moved{"/new", 302}, nil }, chassi.Route("GET /old"), chassi.Public))
	if err := s.Mount(service); err != nil {
		t.Fatal(err)
	}
	base := startServer(t, s)
	for body, want := range map[string]int{`{"status":201}`: 201, `{}`: 200, `{"status":303}`: 303, `{"status":204}`: 204, `{"status":418}`: 500} {
		got, text := exchangeFile(t, "POST", base+"/things", http.Header{"Content-Type": jsonType}, strings.NewReader(body))
		if got.StatusCode != want {
			t.Errorf("%s: %d %s", body, got.StatusCode, text)
		}
		if want == 500 {
			continue
		}
		if h := got.Header; h.Get("Location") != "/things/7" || h.Get("X-Version") != "3" || h.Get("Set-Cookie") != "session=s; Path=/; HttpOnly" || want != 204 && text != `{"id":"7"}` {
			t.Errorf("%s: %v %s", body, h, text)
		}
	}
	if got, text := exchangeFile(t, "GET", base+"/old", nil, nil); got.StatusCode != http.StatusFound || got.Header.Get("Location") != "/new" || text != "" {
		t.Errorf("%d %v %q", got.StatusCode, got.Header, text)
	}
	caller, err := NewClient(ClientConfig{URL: base})
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	c, err := client.New(service, caller)
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{201, 303, 204} {
		r, err := client.Invoke[created](t.Context(), c, "Create", &choice{status})
		if err != nil || r.Location != "/things/7" || r.Version != 3 || r.Session == nil || r.Session.Value != "s" || r.Status != status || status != 204 && r.ID != "7" {
			t.Errorf("%d: %+v, %v", status, r, err)
		}
	}
	if r, err := client.Invoke[moved](t.Context(), c, "Move", &struct{}{}); err != nil || *r != (moved{"/new", 302}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func newTestServer(t *testing.T) *Server {
	t.Helper()
	s, err := New(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func startServer(t *testing.T, s *Server) string {
	t.Helper()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addr().String()
}

func responds[Req, Res any](options ...chassi.EndpointOption) *chassi.Endpoint {
	method := func(context.Context, *Req) (*Res, error) { return new(Res), nil }
	return chassi.NewEndpoint("Do", method, append([]chassi.EndpointOption{chassi.Route("POST /x"), chassi.Public}, options...)...)
}

// Fields that HTTP cannot carry as their tags say are refused at mount.
func TestMountRefusesFields(t *testing.T) {
	t.Parallel()
	type nothing struct{}
	type Hidden struct {
		F chassi.File `json:"f"`
	}
	for want, e := range map[string]*chassi.Endpoint{
		`the header "Content-Length" cannot be set from a field`: responds[nothing, struct {
			A string `json:"-" header:"Content-Length"`
		}](),
		`the header "set-cookie" cannot be set from a field`: responds[nothing, struct {
			A string `json:"-" header:"set-cookie"`
		}](),
		`the header "a b" cannot be set from a field`: responds[nothing, struct {
			A string `json:"-" header:"a b"`
		}](),
		"field B: another field also has the header X-A": responds[nothing, struct {
			A string `json:"-" header:"X-A"`
			B string `json:"-" header:"x-a"`
		}](),
		`the tag cookie also needs json:"-"`: responds[nothing, struct {
			A http.Cookie `cookie:"a"`
		}](),
		"a cookie must have the type http.Cookie, not string": responds[nothing, struct {
			A string `json:"-" cookie:"a"`
		}](),
		"want numbers from 200 to 399": responds[nothing, struct {
			A int `json:"-" status:"200,404"`
		}](),
		"at most one status, which must be an int": responds[nothing, struct {
			A string `json:"-" status:"200"`
		}](),
		"a response with a file cannot have a JSON body": responds[nothing, struct {
			A int         `json:"a"`
			F chassi.File `json:"f"`
		}](),
		"a response with a file cannot have status 204": responds[nothing, struct {
			A int         `json:"-" status:"200,204"`
			F chassi.File `json:"f"`
		}](),
		"a response with a file cannot have status 206": responds[nothing, struct {
			F chassi.File `json:"f"`
		}](chassi.Status(206)),
		"want numbers from 200 to 399 without 205, 206 and 304": responds[nothing, struct {
			A int         `json:"-" status:"200,304"`
			F chassi.File `json:"f"`
		}](),
		"a file must be a field of the response itself": responds[nothing, struct {
			A []struct{ F chassi.File } `json:"a"`
		}](),
		"a file must be a field of the request itself": responds[struct {
			A *chassi.File `json:"a"`
		}, nothing](),
		"a message has at most one file": responds[struct {
			A chassi.File `json:"a"`
			B chassi.File `json:"b"`
		}, nothing](),
		"of a form with a file": responds[struct {
			A chassi.File       `json:"a"`
			B map[string]string `json:"b"`
		}, nothing](),
		`field A: the name "a\nb" in a form contains a control character`: responds[struct {
			A string      `json:"a\nb"` //nolint:tagliatelle // the name is what is tested
			F chassi.File `json:"f"`
		}, nothing](),
		`field F: the name "\x00" in a form contains a control character`: responds[struct {
			F chassi.File `json:"\x00"`
		}, nothing](),
		`fields A and F conflict over JSON object name "F"`: responds[struct {
			A string `json:"F"` //nolint:tagliatelle // the conflict is what is tested
			F chassi.File
		}, nothing](),
		`field F: a file cannot have the tag json:"-"`: responds[struct {
			F chassi.File `json:"-"`
		}, nothing](),
		"field F: the json tag of its struct, or another field": responds[struct {
			Hidden
			A string `json:"f"`
		}, nothing](),
		"a file cannot have the tag query": responds[struct {
			F chassi.File `json:"f" query:"f"`
		}, nothing](),
		"the tag status is for responses only": responds[struct {
			A int `json:"-" status:"200"`
		}, nothing](),
		`the cookie name "a b" is invalid`: responds[nothing, struct {
			A http.Cookie `json:"-" cookie:"a b"`
		}](),
		`field G: a file cannot have the tag json:"-"`: responds[nothing, struct {
			G chassi.File `json:"-"`
		}](),
		"the tag cookie is for responses": responds[struct {
			A string `json:"-" cookie:"a"`
		}, nothing](),
		"GET has no body": responds[struct {
			A chassi.File `json:"a"`
		}, nothing](chassi.Route("GET /x")),
	} {
		s := newTestServer(t)
		if err := s.Mount(chassi.NewService("a.v1.A", e)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A file may end a call with an error of its own reader, and a file behind a failed encoding is
// closed.
func TestFileIsClosedIfItIsNotSent(t *testing.T) {
	t.Parallel()
	type response struct {
		Version string      `json:"-" header:"X-Version"`
		File    chassi.File `json:"file"`
	}
	d := new(disk)
	s := newTestServer(t)
	e := chassi.NewEndpoint("Do", func(context.Context, *struct{}) (*response, error) {
		return &response{Version: "a\nb", File: chassi.File{Reader: struct {
			io.Reader
			io.Closer
		}{strings.NewReader("x"), diskFile{nil, d}}}}, nil
	}, chassi.Route("GET /x"), chassi.Public)
	if err := s.Mount(chassi.NewService("a.v1.A", e)); err != nil {
		t.Fatal(err)
	}
	if got, text := exchangeFile(t, "GET", startServer(t, s)+"/x", nil, nil); got.StatusCode != http.StatusInternalServerError || d.closed.Load() != 1 {
		t.Errorf("%d %s, closed %d times", got.StatusCode, text, d.closed.Load())
	}
}

// So is the file of a response with an invalid header, and of one to an upload that is too long.
func TestFileIsClosedIfTheResponseIsRefused(t *testing.T) {
	t.Parallel()
	type response struct {
		File chassi.File `json:"file"`
	}
	for name, c := range map[string]struct {
		spoil func(ctx context.Context, r *rawUpload)
		want  int
	}{
		"invalid header": {func(ctx context.Context, _ *rawUpload) { chassi.CallFrom(ctx).Out.Set("a b", "c") }, http.StatusInternalServerError},
		"upload too long": {func(_ context.Context, r *rawUpload) {
			_, _ = io.Copy(io.Discard, r.File.Reader)
		}, http.StatusRequestEntityTooLarge},
	} {
		d := new(disk)
		s := newTestServer(t)
		e := chassi.NewEndpoint("Do", func(ctx context.Context, r *rawUpload) (*response, error) {
			c.spoil(ctx, r)
			return &response{chassi.File{Reader: struct {
				io.Reader
				io.Closer
			}{strings.NewReader("x"), diskFile{nil, d}}}}, nil
		}, chassi.Route("PUT /x"), chassi.Public, chassi.MaxBody(4))
		if err := s.Mount(chassi.NewService("a.v1.A", e)); err != nil {
			t.Fatal(err)
		}
		body := "1234"
		if c.want == http.StatusRequestEntityTooLarge {
			body = "12345"
		}
		got, text := exchangeFile(t, "PUT", startServer(t, s)+"/x", nil, struct{ io.Reader }{strings.NewReader(body)})
		if got.StatusCode != c.want || d.closed.Load() != 1 {
			t.Errorf("%s: %d %s, closed %d times", name, got.StatusCode, text, d.closed.Load())
		}
	}
}
