package protobuf_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
)

type outOfStock struct {
	Left int           `json:"left" doc:"how many there are"`
	Next time.Duration `json:"next"`
}

func (outOfStock) DetailName() string { return "shop.v1.OutOfStock" }

// elsewhere is of another package, unfit cannot be a message, unsound has no name.
type elsewhere struct {
	Left int `json:"left"`
}

func (*elsewhere) DetailName() string { return "other.v1.Elsewhere" }

type unfit struct {
	Left any `json:"left"`
}

func (unfit) DetailName() string { return "shop.v1.Unfit" }

type named string

func (n named) DetailName() string {
	if n == "" {
		panic("without a name")
	}
	return string(n)
}

func TestDetailsAreReturned(t *testing.T) {
	t.Parallel()
	want := outOfStock{Left: 3, Next: 1500 * time.Millisecond}
	for _, d := range []chassi.Detail{want, &want, &elsewhere{Left: 3}} {
		name, body, err := protobuf.EncodeDetail(d)
		if err != nil || name != d.DetailName() {
			t.Fatalf("%v: %s, %v", d, name, err)
		}
		received, ok := protobuf.ReceivedDetail(name, body)
		if !ok || received.Name != name || !bytes.Equal(received.Protobuf, body) {
			t.Fatalf("%v came back as %+v, %v", d, received, ok)
		}
		if got, ok := chassi.DetailOf[outOfStock](chassi.NewError(chassi.Aborted, "a", "b").WithDetails(received)); ok != (name == want.DetailName()) || ok && got != want {
			t.Errorf("%v came back as %+v, %v", d, got, ok)
		}
	}
}

func TestDetailsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	var typedNil *outOfStock
	for name, d := range map[string]chassi.Detail{
		"nil": nil, "nil pointer": typedNil, "no message": unfit{}, "no struct": named("a.B"), "panics": named(""),
		"no full name": &chassi.EncodedDetail{Name: "a/b"}, "empty name": &chassi.EncodedDetail{}, "JSON alone": &chassi.EncodedDetail{Name: "a.B", JSON: []byte("{}")},
	} {
		if got, _, err := protobuf.EncodeDetail(d); err == nil {
			t.Errorf("%s: encoded as %q", name, got)
		}
	}
	for _, name := range []string{"", "a/b", ".a", "a..b", "1a", strings.Repeat("a", 300)} {
		if _, ok := protobuf.ReceivedDetail(name, nil); ok {
			t.Errorf("a detail called %.20q was taken", name)
		}
	}
}

func serviceWith(details ...chassi.Detail) *chassi.Service {
	return chassi.NewService("shop.v1.Shop", chassi.NewEndpoint("Order", func(context.Context, *struct{}) (*struct{}, error) { return &struct{}{}, nil },
		chassi.Public, chassi.Errors(chassi.NewError(chassi.FailedPrecondition, "out_of_stock", "There is none").WithDetails(details...))))
}

// A client with only the .proto file can read the details.
func TestFileDescribesDetails(t *testing.T) {
	t.Parallel()
	file, err := protobuf.File(serviceWith(outOfStock{}, &outOfStock{}, &elsewhere{}, &chassi.EncodedDetail{Name: "shop.v1.Encoded"}))
	if err != nil {
		t.Fatal(err)
	}
	if s := protobuf.Text(file); strings.Count(s, "\nmessage OutOfStock {") != 1 || !strings.Contains(s, "// how many there are\n") || strings.Contains(s, "Elsewhere") || strings.Contains(s, "Encoded") {
		t.Errorf("described as\n%s", s)
	}
	if _, err := protobuf.File(serviceWith(unfit{})); err == nil || !strings.Contains(err.Error(), "shop.v1.Unfit") {
		t.Errorf("a detail that cannot be a message: %v", err)
	}
}

type (
	deeper   struct{ Left int }
	unscoped struct{ Left int }
)

func (deeper) DetailName() string   { return "shop.v1.sub.Deeper" }
func (unscoped) DetailName() string { return "Unscoped" }

// Details of packages below this one, and of none, are not described.
func TestFileDescribesDetailsOfItsPackage(t *testing.T) {
	t.Parallel()
	file, err := protobuf.File(serviceWith(deeper{}, unscoped{}, outOfStock{}))
	if err != nil {
		t.Fatal(err)
	}
	if s := protobuf.Text(file); strings.Contains(s, "Deeper") || strings.Contains(s, "Unscoped") || !strings.Contains(s, "OutOfStock") {
		t.Errorf("described as\n%s", s)
	}
}

// A detail that is not described here does not keep those after it from being described.
func TestFileDescribesDetailsAfterOthers(t *testing.T) {
	t.Parallel()
	for _, other := range []chassi.Detail{&elsewhere{}, &chassi.EncodedDetail{Name: "shop.v1.Encoded"}} {
		file, err := protobuf.File(serviceWith(other, outOfStock{}))
		if err != nil {
			t.Fatal(err)
		}
		if s := protobuf.Text(file); !strings.Contains(s, "\nmessage OutOfStock {") {
			t.Errorf("after %T, described as\n%s", other, s)
		}
	}
}

// Whatever arrives, nothing panics.
func FuzzReceivedDetail(f *testing.F) {
	f.Add("shop.v1.OutOfStock", []byte{8, 3})
	f.Add("shop.v1.OutOfStock", []byte{10, 200})
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		d, ok := protobuf.ReceivedDetail(name, body)
		if !ok {
			return
		}
		if again, b, err := protobuf.EncodeDetail(d); err != nil || again != name || !bytes.Equal(b, body) {
			t.Fatalf("%q became %q, %v", name, again, err)
		}
		_, _ = chassi.DetailOf[outOfStock](chassi.NewError(chassi.Aborted, "a", "b").WithDetails(d))
	})
}
