package middleware_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/google/go-cmp/cmp"
)

type order struct {
	Name  string   `json:"name" validate:"required,minlength=2,maxlength=4"`
	Kind  string   `json:"kind" validate:"oneof=new|used"`
	Age   int      `json:"age" validate:"min=18,max=130"`
	Tags  []string `json:"tags" validate:"maxitems=1"`
	Items []item   `json:"items"`
	Home  *address `json:"home" validate:"required"`
}

type item struct {
	Count uint `json:"count" validate:"required,max=9"`
}

type address struct {
	Zip string `json:"zip" validate:"minlength=5"`
}

func validated[Req any]() func(context.Context, *Req) error {
	e := chassi.NewEndpoint("Order", func(context.Context, *Req) (*struct{}, error) { return &struct{}{}, nil }, chassi.Public)
	return invoke[Req](e, middleware.Validation())
}

func TestValidationNamesEveryBadField(t *testing.T) {
	t.Parallel()
	call := validated[order]()
	if err := call(t.Context(), &order{Name: "éèàü", Kind: "new", Age: 18, Home: &address{}, Items: []item{{Count: 9}}}); err != nil {
		t.Errorf("a good request: %v", err)
	}
	err := call(t.Context(), &order{Name: "éèàüö", Kind: "old", Age: 17, Tags: []string{"a", "b"}, Items: []item{{Count: 1}, {}, {Count: 10}}, Home: &address{Zip: "1"}})
	want := []chassi.Violation{
		{Field: "name", Message: "must have at most 4 characters"},
		{Field: "kind", Message: "must be one of new, used"},
		{Field: "age", Message: "must be at least 18"},
		{Field: "tags", Message: "must have at most 1 items"},
		{Field: "items[1].count", Message: "is required"},
		{Field: "items[2].count", Message: "must be at most 9"},
		{Field: "home.zip", Message: "must have at least 5 characters"},
	}
	if diff := cmp.Diff(want, chassi.ErrorOf(err).Violations); diff != "" || chassi.ErrorOf(err).Code != chassi.InvalidArgument {
		t.Errorf("%v\n%s", err, diff)
	}
	err = call(t.Context(), &order{})
	want = []chassi.Violation{{Field: "name", Message: "is required"}, {Field: "home", Message: "is required"}}
	if diff := cmp.Diff(want, chassi.ErrorOf(err).Violations); diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestABrokenTagRefusesEveryCall(t *testing.T) {
	t.Parallel()
	err := validated[struct {
		N int `validate:"least=1"`
	}]()(t.Context(), nil)
	if err == nil {
		t.Error("no error for a missing request")
	}
	type broken struct {
		N int `validate:"least=1"`
	}
	err = validated[broken]()(t.Context(), &broken{N: 1})
	if chassi.ErrorOf(err).Code != chassi.Internal || !strings.Contains(errors.Unwrap(chassi.ErrorOf(err)).Error(), "least=1: want") && !strings.Contains(err.Error(), "rule least") {
		t.Errorf("%v, want a fault that names the rule", err)
	}
}

// span is fine by its tags; only together are its fields wrong.
type span struct {
	From int `json:"from" validate:"min=1"`
	To   int `json:"to"`
}

func (s *span) Validate() error {
	if s.To < s.From {
		return chassi.NewError(chassi.InvalidArgument, "empty_span", "The span is empty").
			WithViolations(chassi.Violation{Field: "to", Message: "is before from"})
	}
	return nil
}

func TestARequestValidatesItself(t *testing.T) {
	t.Parallel()
	call := validated[span]()
	if err := call(t.Context(), &span{From: 1, To: 2}); err != nil {
		t.Errorf("a good request: %v", err)
	}
	if err := call(t.Context(), &span{From: 2, To: 1}); chassi.ErrorOf(err).Reason != "empty_span" || len(chassi.ErrorOf(err).Violations) != 1 {
		t.Errorf("%v, want the request's own error", err)
	}
	if err := call(t.Context(), &span{From: -2, To: -3}); chassi.ErrorOf(err).Reason != "invalid_request" {
		t.Errorf("%v, want the tags' error first", err)
	}
}
