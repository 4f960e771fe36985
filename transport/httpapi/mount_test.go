package httpapi_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/httpapi"
)

type (
	Paging struct {
		Limit int `json:"-" query:"limit"`
	}
	hidden  struct{ A int }
	Sort    int
	listing struct {
		*Paging
		Sort Sort `json:"-" query:"sort"`
	}
	relisting struct {
		*Paging
		Sort  Sort `json:"-" query:"sort"`
		Title string
	}
	listed struct {
		Limit int
		Paged bool
		Sort  Sort
	}
)

// String is not what is sent.
func (s Sort) String() string { return "sorted" }

func list(_ context.Context, r *listing) (*listed, error) {
	out := &listed{Paged: r.Paging != nil, Sort: r.Sort}
	if r.Paging != nil {
		out.Limit = r.Limit
	}
	return out, nil
}

func relist(ctx context.Context, r *relisting) (*listed, error) {
	if r.Title != "new" {
		return nil, errors.New("no title")
	}
	return list(ctx, &listing{r.Paging, r.Sort})
}

func mountListing(t *testing.T) (*httpapi.Server, *chassi.Service) {
	t.Helper()
	s, err := httpapi.New(httpapi.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	service := chassi.NewService("a.v1.A",
		chassi.NewEndpoint("List", list, chassi.Route("GET /list"), chassi.Public),
		chassi.NewEndpoint("Relist", relist, chassi.Route("PUT /list"), chassi.Public))
	if err := s.Mount(service); err != nil {
		t.Fatal(err)
	}
	return s, service
}

// Parameters may be in a struct that is embedded by pointer, which is there if one of them
// is given.
func TestParametersOfAnEmbeddedPointer(t *testing.T) {
	t.Parallel()
	s, _ := mountListing(t)
	for query, want := range map[string]string{
		"":                `{"Limit":0,"Paged":false,"Sort":0}`,
		"?limit=5&sort=2": `{"Limit":5,"Paged":true,"Sort":2}`,
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/list"+query, nil))
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%q: %d %s, want %s", query, w.Code, w.Body, want)
		}
	}
}

func TestClientSendsParametersOfAnEmbeddedPointer(t *testing.T) {
	t.Parallel()
	s, service := mountListing(t)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	caller, err := httpapi.NewClient(httpapi.ClientConfig{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(caller.Close)
	c, err := client.New(service, caller)
	if err != nil {
		t.Fatal(err)
	}
	for want, request := range map[listed]*listing{
		{}:                                {},
		{Limit: 5, Paged: true, Sort: -2}: {Paging: &Paging{Limit: 5}, Sort: -2},
	} {
		if got, err := client.Invoke[listed](t.Context(), c, "List", request); err != nil || *got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		if want.Paged && request.Limit != 5 {
			t.Error("the client changed its caller's request")
		}
		beside := &relisting{Paging: request.Paging, Sort: request.Sort, Title: "new"}
		if got, err := client.Invoke[listed](t.Context(), c, "Relist", beside); err != nil || *got != want {
			t.Errorf("beside a body: %+v, %v, want %+v", got, err, want)
		}
		if want.Paged && (request.Limit != 5 || beside.Title != "new" || beside.Sort != request.Sort) {
			t.Error("the client changed its caller's request")
		}
	}
}

func refusedNoop[Req, Res any](context.Context, *Req) (*Res, error) { return new(Res), nil }

func TestMountRejectsUnencodableTypes(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*chassi.Endpoint{
		"field C: chan int":       chassi.NewEndpoint("Do", refusedNoop[struct{ C chan int }, struct{}], chassi.Route("POST /do")),
		"field F: func()":         chassi.NewEndpoint("Do", refusedNoop[struct{}, struct{ F func() }], chassi.Route("POST /do")),
		"field hidden: a pointer": chassi.NewEndpoint("Do", refusedNoop[struct{ *hidden }, struct{}], chassi.Route("POST /do")),
		"fields A and B are both read from": chassi.NewEndpoint("Do", refusedNoop[struct {
			A int `json:"-" query:"q"`
			B int `json:"-" query:"q"`
		}, struct{}], chassi.Route("GET /do")),
	} {
		s, err := httpapi.New(httpapi.Config{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Mount(chassi.NewService("a.v1.A", e)); err == nil || !strings.Contains(err.Error(), "a.v1.A/Do") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
