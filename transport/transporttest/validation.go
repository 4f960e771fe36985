package transporttest

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// testValidation verifies that an invalid request does not reach the method, that the client
// receives the same error over every transport, and that an unknown rule prevents mounting.
func testValidation(t *testing.T, f *fixture) {
	f.start(t)
	check := func(c *Checked) string {
		_, err := client.Invoke[Nothing](bounded(t), f.client, "Check", c)
		return violationsOf(err)
	}
	zero := int32(0)
	limit := "limit"
	if f.binding(t).Transport == "http" {
		limit = "page_size"
	}
	for name, c := range map[string]struct {
		request Checked
		want    string
	}{
		"good": {
			Checked{Word: "w", Age: 18, Limit: 5, Parts: []*Part{{Name: "a", Tags: []string{"b"}}}, Named: map[string]*Part{"abc": {Name: "b"}}},
			"",
		},
		"zero":       {Checked{Word: "w"}, "age must be at least 18"},
		"zero given": {Checked{Word: "w", Age: 18, Maybe: &zero}, "maybe must be at least 1"},
		"parameters": {Checked{Word: "bad", Age: 18, Limit: 6}, "word must not be bad; " + limit + " must be at most 5"},
		"containers": {
			Checked{
				Word: "w", Age: 18, Parts: []*Part{{Name: "1"}, {}, {Name: "a", Tags: []string{"a", "c"}}},
				Named: map[string]*Part{"a.bc": {Name: "a"}, "k": {}},
			},
			"parts must have at most 2 items; parts[0].name must have letters a to z only; parts[1].name is required; parts[2].tags[1] must be one of a, b; " +
				`named["a.bc"] has a name that must have at most 3 characters; named["k"].name is required`,
		},
		"method": {
			Checked{Word: "w", Age: 18, Parts: []*Part{{Name: "nobody"}}, Named: map[string]*Part{"n": {Name: "nobody"}}},
			`parts[0] must not be nobody; named["n"] must not be nobody`,
		},
	} {
		before := f.service.echoed.Load()
		if got := check(&c.request); got != c.want {
			t.Errorf("%s: got the violations %q, want %q", name, got, c.want)
		}
		if ran := f.service.echoed.Load() > before; ran != (c.want == "") {
			t.Errorf("%s: the method ran: %v, want %v", name, ran, c.want == "")
		}
	}
	const noColor = `color there is no color "…"`
	if got := check(&Checked{Word: "w", Age: 18, Color: Color{"canary"}}); f.Send != nil && got != noColor {
		t.Errorf("invalid color: got the violations %q, want %q", got, noColor)
	}
	testBoundedResponse(t, check)
	mounts, ok := f.Server.(chassi.Transport)
	if !ok {
		t.Fatalf("got a server of type %T, want a chassi.Transport", f.Server)
	}
	const unknownRule = "conformance.v1.Broken/Try: validation: transporttest.unmountable: field Text: rule least is unknown"
	err := mounts.Mount(unmountableService())
	if err == nil || !strings.Contains(err.Error(), unknownRule) {
		t.Errorf("mounting a service with an unknown rule: got the error %v, want one with %q", err, unknownRule)
	}
}

// violationsOf returns the violations of an InvalidArgument error as text, the text of any other
// error, or "" if err is nil.
func violationsOf(err error) string {
	if err == nil {
		return ""
	}
	e := chassi.ErrorOf(err)
	if e.Code != chassi.InvalidArgument {
		return err.Error()
	}
	var lines []string
	for _, v := range e.Violations {
		lines = append(lines, strings.TrimSpace(v.Field+" "+v.Message))
	}
	return strings.Join(lines, "; ")
}

// testBoundedResponse verifies that the violations of a request with many invalid values are
// limited to 8 KiB. The function check sends a request and returns its violations.
func testBoundedResponse(t *testing.T, check func(*Checked) string) {
	t.Helper()
	many := Checked{Word: "w", Age: 18, Named: make(map[string]*Part)}
	for i := range 40 {
		many.Named[strconv.Itoa(i)+strings.Repeat("k", 200)] = &Part{Tags: slices.Repeat([]string{"c"}, 10)}
	}
	if got := check(&many); len(got) > 8<<10 || !strings.Contains(got, "more") {
		t.Errorf("got violations of %d bytes, want at most %d bytes that contain \"more\": %.200s", len(got), 8<<10, got)
	}
}

// binding returns the client's binding of the endpoint Check.
func (f *fixture) binding(t *testing.T) *chassi.Binding {
	t.Helper()
	b, _, err := f.Caller.Bind(f.endpoint("Check"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
