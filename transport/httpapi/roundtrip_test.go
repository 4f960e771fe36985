package httpapi_test

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/httpapi"
	"pgregory.net/rapid"
)

type anywhere struct {
	Segment string   `json:"-" path:"segment"`
	Rest    string   `json:"-" path:"rest"`
	Query   string   `json:"-" query:"query"`
	List    []string `json:"-" query:"list"`
	Header  string   `json:"-" header:"X-Test-Value"`
}

// What our client sends outside of the body arrives as it was, whatever it is, or the caller
// is told which field cannot be sent.
func TestParametersArrive(t *testing.T) {
	t.Parallel()
	var arrived anywhere
	service := func() *chassi.Service {
		method := func(_ context.Context, r *anywhere) (*struct{}, error) { arrived = *r; return &struct{}{}, nil }
		return chassi.NewService("x.v1.X", chassi.NewEndpoint("Put", method, chassi.Route("GET /x/{segment}/y/{rest...}"), chassi.Public))
	}
	server, err := httpapi.New(httpapi.Config{Addr: "127.0.0.1:0", MaxHeaderBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Mount(service()); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	remote, err := httpapi.NewClient(httpapi.ClientConfig{URL: "http://" + server.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		remote.Close()
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	c, err := client.New(service(), remote)
	if err != nil {
		t.Fatal(err)
	}
	try := func(t rapid.TB, sent anywhere) {
		arrived = anywhere{}
		_, err := client.Invoke[struct{}](context.Background(), c, "Put", &sent)
		if err == nil {
			if !reflect.DeepEqual(arrived, sent) {
				t.Fatalf("%q arrived as %q", sent, arrived)
			}
			return
		}
		e := chassi.ErrorOf(err)
		if e.Code != chassi.InvalidArgument || len(e.Violations) == 0 {
			t.Fatalf("%q: %v", sent, err)
		}
		for _, v := range e.Violations {
			value := map[string][]string{"segment": {sent.Segment}, "rest": {sent.Rest}, "query": {sent.Query}, "list": sent.List, "X-Test-Value": {sent.Header}}[v.Field]
			if !mayBeRefused(v.Field, value) {
				t.Fatalf("%q: %s %s", sent, v.Field, v.Message)
			}
		}
	}
	for _, s := range []string{"a/b", "/", "a//b", `\\`, ";", "a;b=c", "%2F", "%", "..", ".", "../..", "a/../b", "?", "#", "+", " ", "a ", "ü", "\x00", "\n", "{segment}", "~", "*", "&=", "\xff"} {
		try(t, anywhere{Segment: s, Rest: "r"})
		try(t, anywhere{Segment: "s", Rest: s})
		try(t, anywhere{Segment: "s", Rest: "r/" + s + "/q"})
		try(t, anywhere{Segment: "s", Query: s, List: []string{s, s}})
		try(t, anywhere{Segment: "s", Header: s})
	}
	text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("/.%2F;\\ a?#&=+\x00\x7f\té"))))
	rapid.Check(t, func(t *rapid.T) {
		try(t, anywhere{
			Segment: text.Draw(t, "segment"), Rest: text.Draw(t, "rest"), Query: text.Draw(t, "query"), Header: text.Draw(t, "header"),
			List: rapid.SampledFrom([][]string{nil, {text.Draw(t, "list")}}).Draw(t, "list or none"),
		})
	})
}

// mayBeRefused holds for what HTTP cannot carry, or not without a second reading.
func mayBeRefused(field string, values []string) bool {
	for _, value := range values {
		switch {
		case !utf8.ValidString(value):
			return true
		case field == "segment":
			if value == "" || value == "/" || value == "." || value == ".." || slices.Contains([]byte(value), 0) {
				return true
			}
		case field == "rest":
			return true // its segments follow the rules of segment
		case field == "X-Test-Value":
			for _, b := range []byte(value) {
				if b < ' ' || b == 0x7f {
					return true
				}
			}
			if value != "" && (value[0] == ' ' || value[len(value)-1] == ' ') {
				return true
			}
		}
	}
	return false
}
