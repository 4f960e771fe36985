package chassi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
)

type outOfStock struct {
	Left int `json:"left"`
}

func (outOfStock) DetailName() string { return "shop.v1.OutOfStock" }

// byPointer is a detail by its pointer only.
type byPointer struct{ Left int }

func (*byPointer) DetailName() string { return "shop.v1.ByPointer" }

var errStock = chassi.NewError(chassi.FailedPrecondition, "out_of_stock", "There is not enough")

func ExampleError_WithDetails() {
	// The method:
	err := fmt.Errorf("order 7: %w", errStock.WithDetails(outOfStock{Left: 3}))
	// The caller, whatever transport was between:
	if detail, ok := chassi.DetailOf[outOfStock](err); ok && errors.Is(err, errStock) {
		fmt.Println("order", detail.Left, "instead")
	}
	// Output: order 3 instead
}

func TestDetailOf(t *testing.T) {
	t.Parallel()
	var nilDetail *outOfStock
	decode := func(into any) error { return json.Unmarshal([]byte(`{"left":5}`), into) }
	fail := func(into any) error {
		into.(*outOfStock).Left = 9
		return errors.New("malformed")
	}
	for name, c := range map[string]struct {
		details []chassi.Detail
		want    int // 0 for none
	}{
		"none":                   {nil, 0},
		"nil":                    {[]chassi.Detail{nil, nilDetail}, 0},
		"a struct":               {[]chassi.Detail{outOfStock{3}}, 3},
		"a pointer":              {[]chassi.Detail{&outOfStock{3}}, 3},
		"the first":              {[]chassi.Detail{nil, &byPointer{1}, &outOfStock{3}, outOfStock{4}}, 3},
		"encoded":                {[]chassi.Detail{&chassi.EncodedDetail{Name: "shop.v1.OutOfStock", Decode: decode}}, 5},
		"encoded, malformed":     {[]chassi.Detail{&chassi.EncodedDetail{Name: "shop.v1.OutOfStock", Decode: fail}}, 0},
		"malformed, and another": {[]chassi.Detail{&chassi.EncodedDetail{Name: "shop.v1.OutOfStock", Decode: fail}, outOfStock{4}}, 4},
		"encoded by a method":    {[]chassi.Detail{&chassi.EncodedDetail{Name: "shop.v1.OutOfStock"}}, 0},
		"of another name":        {[]chassi.Detail{&chassi.EncodedDetail{Name: "shop.v1.Other", Decode: decode}}, 0},
	} {
		for _, err := range []*chassi.Error{errStock.WithDetails(c.details...), {Code: chassi.Aborted, Details: c.details}} {
			if got, ok := chassi.DetailOf[outOfStock](fmt.Errorf("around: %w", err)); ok != (c.want > 0) || got.Left != c.want {
				t.Errorf("%s: %+v, %v, want %d", name, got, ok, c.want)
			}
		}
	}
	err := errStock.WithDetails(&byPointer{7}, &chassi.EncodedDetail{Name: "a.B"})
	if got, ok := chassi.DetailOf[*byPointer](err); !ok || got.Left != 7 {
		t.Errorf("by pointer: %+v, %v", got, ok)
	}
	received := errStock.WithDetails(&chassi.EncodedDetail{Name: "shop.v1.ByPointer", Decode: decode})
	if got, ok := chassi.DetailOf[*byPointer](received); !ok || got.Left != 5 {
		t.Errorf("by pointer, encoded: %+v, %v", got, ok)
	}
	if got, ok := chassi.DetailOf[*outOfStock](errStock.WithDetails(outOfStock{3})); !ok || got.Left != 3 {
		t.Errorf("a pointer to a struct: %+v, %v", got, ok)
	}
	if _, ok := chassi.DetailOf[chassi.Detail](err); ok {
		t.Error("an interface is no type of a detail")
	}
	if got, ok := chassi.DetailOf[*chassi.EncodedDetail](err); !ok || got.Name != "a.B" {
		t.Errorf("encoded: %+v, %v", got, ok)
	}
	if errStock.Details != nil || len(errStock.WithDetails(nil, nilDetail).Details) != 0 {
		t.Error("WithDetails changed the sentinel, or kept a nil")
	}
}

// Details are for the caller: neither a cause nor an error of others makes any, and the log
// has none of their values.
func TestDetailsAreSetByMethodsAlone(t *testing.T) {
	t.Parallel()
	cause := errStock.WithDetails(outOfStock{31337})
	for _, err := range []error{chassi.NewError(chassi.Internal, "internal", "Internal error").WithCause(cause), chassi.ErrorOf(errors.New("other"))} {
		if e := chassi.ErrorOf(err); len(e.Details) > 0 {
			t.Errorf("%v has details", err)
		}
	}
	if text := cause.LogValue().String() + cause.Error(); strings.Contains(text, "31337") {
		t.Errorf("the log has %s", text)
	}
}
