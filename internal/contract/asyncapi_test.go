package contract_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/contract"
	"github.com/chassi-go/chassi/schema"
)

// asyncAPI returns the document of a program that sends events of type T.
func asyncAPI[T any](t *testing.T, name string) []byte {
	t.Helper()
	e := chassi.NewEndpoint(name, func(context.Context, *T) (*struct{}, error) { return nil, nil })
	document, err := schema.AsyncAPI(schema.Info{Title: "t", Version: "1", Topics: []schema.Topic{{Event: e, Send: true, Receive: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// A removed field, a field of another type and a removed topic break subscribers; another field
// does not.
func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	type first struct {
		ID    string `json:"id"`
		Total int64  `json:"total"`
	}
	type more struct {
		ID    string `json:"id"`
		Total int64  `json:"total"`
		Note  string `json:"note"`
	}
	type less struct {
		ID string `json:"id"`
	}
	type other struct {
		ID    string `json:"id"`
		Total bool   `json:"total"`
	}
	const name = "orders.v1.Created"
	older := asyncAPI[first](t, name)
	for want, newer := range map[string][]byte{
		"":                                 asyncAPI[more](t, name),
		"total is gone":                    asyncAPI[less](t, name),
		"is boolean":                       asyncAPI[other](t, name),
		"topic orders.v1.Created: is gone": asyncAPI[first](t, "orders.v1.Other"),
	} {
		broken, err := contract.AsyncAPI(older, newer)
		if got := strings.Join(broken, "\n"); err != nil || (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
}
