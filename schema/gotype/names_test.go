package gotype_test

import (
	htmltemplate "html/template"
	"math/big"
	"reflect"
	"strings"
	"testing"
	texttemplate "text/template"
	"time"

	"github.com/chassi-go/chassi/schema/gotype"
)

type pair[A, B any] struct {
	First  A
	Second B
}

func typed[T any]() gotype.Named { return gotype.Named{Type: reflect.TypeFor[T]()} }

func TestNames(t *testing.T) {
	t.Parallel()
	get := func(scope string) gotype.Named { return gotype.Named{Fallback: "GetRequest", Scope: scope} }
	input := gotype.Named{Type: reflect.TypeFor[time.Time](), Suffix: "Input"}
	for name, c := range map[string]struct {
		reserved []string
		want     map[gotype.Named]string
	}{
		"short where alone":      {nil, map[gotype.Named]string{typed[time.Time](): "Time", get("orders.v1.Orders"): "GetRequest"}},
		"suffixes tell apart":    {nil, map[gotype.Named]string{typed[time.Time](): "Time", input: "TimeInput"}},
		"reserved":               {[]string{"Time"}, map[gotype.Named]string{typed[time.Time](): "TimeTime", typed[time.Month](): "Month"}},
		"as much as it takes":    {nil, map[gotype.Named]string{typed[texttemplate.Template](): "TextTemplateTemplate", typed[htmltemplate.Template](): "HtmlTemplateTemplate"}},
		"scopes":                 {nil, map[gotype.Named]string{get("a.v1.Orders"): "AV1OrdersGetRequest", get("b.v1.Orders"): "BV1OrdersGetRequest"}},
		"type arguments":         {nil, map[gotype.Named]string{typed[pair[string, int]](): "PairStringInt"}},
		"arguments of all kinds": {nil, map[gotype.Named]string{typed[pair[map[string][]*big.Int, [4]any]](): "PairMapStringListPtrIntArray4Any"}},
		"arguments are distinct": {nil, map[gotype.Named]string{typed[pair[int, big.Int]](): "GotypeTestPairIntBigInt", typed[pair[big.Int, int]](): "GotypeTestPairBigIntInt"}},
		"arguments of one name":  {nil, map[gotype.Named]string{typed[pair[texttemplate.Template, int]](): "SchemaGotypeTestPairTextTemplateTemplateInt", typed[pair[htmltemplate.Template, int]](): "SchemaGotypeTestPairHtmlTemplateTemplateInt"}},
	} {
		var all []gotype.Named
		for n := range c.want {
			all = append(all, n)
		}
		got, err := gotype.Names(all, nil, c.reserved...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n, want := range c.want {
			if got[n] != want {
				t.Errorf("%s: %v is called %s, want %s", name, n, got[n], want)
			}
		}
	}
}

func TestAmbiguousNames(t *testing.T) {
	t.Parallel()
	fallback := func(name string) gotype.Named { return gotype.Named{Fallback: name, Scope: "s"} }
	for want, c := range map[string]struct {
		all      []gotype.Named
		reserved []string
	}{
		"s.a-b and s.a_b have the same name AB; rename all but one": {[]gotype.Named{fallback("a-b"), fallback("a_b"), typed[time.Time]()}, nil},
		"time.Time: the document itself uses the name TimeTime; choose another name": {
			[]gotype.Named{typed[time.Time](), typed[time.Month]()}, []string{"Time", "TimeTime"}},
	} {
		if _, err := gotype.Names(c.all, nil, c.reserved...); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestIdentifier(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "-": "", "order": "Order", "orderItem": "OrderItem", "order-item_2": "OrderItem2", "2fa": "N2fa", "a2": "A2",
		"é": "U00E9", "éa": "U00E9a", "aé b": "AU00E9B", "Local·12": "Local", strings.Repeat("-a", 3): "AAA",
	} {
		if got := gotype.Identifier(text); got != want {
			t.Errorf("Identifier(%q) = %q, want %q", text, got, want)
		}
	}
}
