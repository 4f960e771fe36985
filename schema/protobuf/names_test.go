package protobuf_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
)

//nolint:tagliatelle // the names are what is tested
type oddNames struct {
	A int `json:"userID"`
	B int `json:"HTTPServer"`
	C int `json:"user-name"`
	D int `json:"A_Bc"`
	E int `json:"2fa"`
	F int `json:"é"`
	G int `json:"XYZ"`
	H int `json:"_"`
	I int `json:"Ab"`
	J int `json:"v9Z"`
}

func TestFieldNames(t *testing.T) {
	t.Parallel()
	file, err := protobuf.File(chassi.NewService("t.v1.T", chassi.NewEndpoint("Do", func(context.Context, *oddNames) (*struct{}, error) { return nil, nil })))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, m := range file.GetMessageType() {
		for _, f := range m.GetField() {
			got[f.GetJsonName()] = f.GetName()
		}
	}
	want := map[string]string{
		"userID": "user_id", "HTTPServer": "http_server", "user-name": "user_name", "A_Bc": "a_bc", "2fa": "field_2fa",
		"é": "ue9", "XYZ": "xyz", "_": "field__", "Ab": "ab", "v9Z": "v9_z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Messages within messages that have no name of their own are distinguished by the services that
// they belong to, whichever is registered first.
func TestNestedMessagesOfTwoServices(t *testing.T) {
	t.Parallel()
	first := chassi.NewService("t.v1.First", chassi.NewEndpoint("Do", func(context.Context, *struct{ Item struct{ A int } }) (*struct{}, error) { return nil, nil }))
	second := chassi.NewService("t.v1.Second", chassi.NewEndpoint("Do", func(context.Context, *struct{ Item struct{ B string } }) (*struct{}, error) { return nil, nil }))
	for _, services := range [][]*chassi.Service{{first, second}, {second, first}} {
		file, err := protobuf.File(services...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range file.GetMessageType() {
			got = append(got, m.GetName())
		}
		slices.Sort(got)
		want := []string{"FirstDoRequest", "FirstDoRequestItem", "FirstDoResponse", "SecondDoRequest", "SecondDoRequestItem", "SecondDoResponse"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// Append leaves what is there, and appends the same whatever that is.
func TestAppendAppends(t *testing.T) {
	t.Parallel()
	for _, v := range []*Everything{{Inner: Inner{Name: "in"}}, {}} {
		alone, err := planOf[Everything](t).Append(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		behind, err := planOf[Everything](t).Append([]byte("before"), v)
		if rest, ok := bytes.CutPrefix(behind, []byte("before")); err != nil || !ok || !bytes.Equal(rest, alone) {
			t.Errorf("%q after \"before\", %q alone; %v", behind, alone, err)
		}
	}
}
