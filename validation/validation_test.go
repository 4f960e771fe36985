package validation_test

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/validation"
)

// violations checks a request and returns what is wrong, "field message" a line.
func violations[T any](t *testing.T, request *T) string {
	t.Helper()
	c, err := validation.New(reflect.TypeFor[T](), validation.Parameters)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Check(request)
	if err == nil {
		return ""
	}
	e := chassi.ErrorOf(err)
	if e.Code != chassi.InvalidArgument {
		t.Fatalf("%v", err)
	}
	var lines []string
	for _, v := range e.Violations {
		lines = append(lines, strings.TrimSpace(v.Field+" "+v.Message))
	}
	return strings.Join(lines, "\n")
}

func expect[T any](t *testing.T, request *T, want ...string) {
	t.Helper()
	if got := violations(t, request); got != strings.Join(want, "\n") {
		t.Errorf("%+v:\n%s\nwant\n%s", request, got, strings.Join(want, "\n"))
	}
}

type item struct {
	Name string `json:"name" validate:"max=2"`
}

type Embedded struct {
	Limit int `json:"limit" query:"page_size" validate:"max=5"`
}

type Paging struct {
	Page int `json:"page" validate:"min=1"`
}

type recursive struct {
	Name string       `json:"name" validate:"required"`
	Next *recursive   `json:"next"`
	More []*recursive `json:"more"`
}

type tree []tree

type everywhere struct {
	Value    item                       `json:"value"`
	Pointer  *item                      `json:"pointer"`
	List     []item                     `json:"list"`
	Pointers []*item                    `json:"pointers"`
	Array    [2]item                    `json:"array"`
	Map      map[string]item            `json:"map"`
	Numbers  map[int]*item              `json:"numbers"`
	Nested   [][]item                   `json:"nested"`
	ToList   *[]item                    `json:"to_list"`
	Deep     map[string][]map[int]*item `json:"deep"`
	Inline   struct {
		Item item `json:"item"`
	} `json:"inline"`
	Embedded
	Tree tree `json:"tree"`
	Any  any  `json:"any"`
}

// Rules hold wherever a struct is, and the violation says where that was.
func TestRulesHoldInEveryContainer(t *testing.T) {
	t.Parallel()
	bad, good := item{"abc"}, item{"a"}
	list := []item{good, bad}
	r := &everywhere{
		Value: bad, Pointer: &bad, List: []item{good, bad}, Pointers: []*item{nil, &bad}, Array: [2]item{good, bad},
		Map: map[string]item{"a.b": bad}, Numbers: map[int]*item{-7: &bad, 1: nil}, Nested: [][]item{{}, {good, bad}}, ToList: &list,
		Deep: map[string][]map[int]*item{"k": {{3: &bad}}}, Embedded: Embedded{6}, Tree: tree{nil, tree{}},
	}
	r.Inline.Item = bad
	var want []string
	for _, path := range []string{
		"value", "pointer", "list[1]", "pointers[1]", "array[1]", `map["a.b"]`, "numbers[-7]", "nested[1][1]", "to_list[1]", `deep["k"][0][3]`, "inline.item",
	} {
		want = append(want, path+".name must have at most 2 characters")
	}
	expect(t, r, append(want, "page_size must be at most 5")...)
	expect(t, &everywhere{})
	expect(t, &recursive{Name: "a", Next: &recursive{Name: "b", More: []*recursive{{}, nil, {Name: "c", Next: &recursive{}}}}},
		"next.more[0].name is required", "next.more[2].next.name is required")
}

// An embedded pointer that is nil stands for fields that were not sent.
func TestAnEmbeddedPointer(t *testing.T) {
	t.Parallel()
	type request struct {
		*Paging
		*Embedded
	}
	expect(t, &request{}, "page must be at least 1")
	expect(t, &request{Paging: &Paging{}, Embedded: &Embedded{9}}, "page must be at least 1", "page_size must be at most 5")
	expect(t, &request{Paging: &Paging{1}})
}

// Rules before dive are about the container, those behind it about what is in it.
func TestDive(t *testing.T) {
	t.Parallel()
	type request struct {
		Tags   []string          `json:"tags" validate:"max=2,unique,dive,required,max=3"`
		Grid   [][]int           `json:"grid" validate:"dive,max=2,dive,min=1"`
		Labels map[string]string `json:"labels" validate:"max=1,dive,keys,max=1,alpha,endkeys,required"`
		Items  []*item           `json:"items" validate:"dive,required"`
		Ports  *[]uint16         `json:"ports" validate:"omitempty,min=1,dive,gt=1023"`
		Pair   [2]string         `json:"pair" validate:"dive,max=1"`
		Counts map[string]*int   `json:"counts" validate:"dive,omitempty,min=1"`
		Off    []item            `json:"off" validate:"-"`
	}
	expect(t, &request{})
	zero := 0
	expect(t, &request{
		Tags: []string{"a", "", "abcd", "a"}, Grid: [][]int{{1}, {1, 0, 1}}, Labels: map[string]string{"a1": "", "b": "c"}, Items: []*item{{}, nil, {"abc"}},
		Ports: &[]uint16{80}, Pair: [2]string{"", "ab"}, Counts: map[string]*int{"a": nil, "b": &zero}, Off: []item{{"abc"}},
	},
		"tags must have at most 2 items", "tags must not have an item twice", "tags[1] is required", "tags[2] must have at most 3 characters",
		"grid[1] must have at most 2 items", "grid[1][1] must be at least 1",
		"labels must have at most 1 entry", `labels["a1"] has a name that must have at most 1 character`,
		`labels["a1"] has a name that must have letters a to z only`, `labels["a1"] is required`,
		"items[1] is required", "items[2].name must have at most 2 characters", "ports[0] must be more than 1023", "pair[1] must have at most 1 character",
		`counts["b"] must be at least 1`)
	expect(t, &request{Ports: &[]uint16{}}, "ports must have at least 1 item")
}

// A value that is not sent is the zero value, and keeps the rules or not like any other.
func TestPresence(t *testing.T) {
	t.Parallel()
	type request struct {
		Age   int      `json:"age" validate:"min=18"`
		Count int      `json:"count" validate:"required,min=1"`
		Exact int      `json:"exact" validate:"required"`
		Name  string   `json:"name" validate:"required,min=2"`
		Agree bool     `json:"agree" validate:"required"`
		Tags  []string `json:"tags" validate:"min=1"`
		Names []string `json:"names" validate:"required"`
		Own   *int     `json:"own" validate:"min=18"`
		Maybe *int     `json:"maybe" validate:"omitempty,min=18"`
		Nick  string   `json:"nick" validate:"omitempty,min=2"`
		Some  []int    `json:"some" validate:"omitempty,min=2"`
		Given *string  `json:"given" validate:"required"`
		Kind  string   `json:"kind" validate:"oneof=a 'b c'"`
		When  time.Time
		At    time.Time `json:"at" validate:"required"`
	}
	expect(t, &request{},
		"age must be at least 18", "count must be at least 1", "exact is required and must not be 0", "name is required", "agree must be true",
		"tags must have at least 1 item", "names must have at least 1 item", "own is required", "given is required", "kind must be one of a, b c", "at is required")
	zero, empty := 0, ""
	good := request{
		Age: 18, Count: 1, Exact: -1, Name: "ab", Agree: true, Tags: []string{""}, Names: []string{""}, Own: new(int), Given: &empty, Kind: "b c", At: time.Unix(0, 0),
		Some: []int{}, Maybe: nil,
	}
	*good.Own = 18
	expect(t, &good)
	good.Maybe, good.Nick, good.Some = &zero, "a", []int{1}
	expect(t, &good, "maybe must be at least 18", "nick must have at least 2 characters", "some must have at least 2 items")
}

// Integers are compared as what they are.
func TestLargeNumbers(t *testing.T) {
	t.Parallel()
	type request struct {
		I int64   `json:"i" validate:"max=9007199254740992"`
		U uint64  `json:"u" validate:"lt=18446744073709551615"`
		F float32 `json:"f" validate:"max=0.1"`
	}
	expect(t, &request{9007199254740992, 1<<64 - 2, 0.1})
	expect(t, &request{9007199254740993, 1<<64 - 1, 0.11}, "i must be at most 9007199254740992", "u must be less than 18446744073709551615", "f must be at most 0.1")
}

// Fields are compared with others of their struct, which the message calls as callers do.
func TestFieldsAreCompared(t *testing.T) {
	t.Parallel()
	type request struct {
		Password string        `json:"password"`
		Again    string        `json:"again" validate:"eqfield=Password"`
		From     time.Time     `json:"from"`
		To       *time.Time    `json:"to" validate:"omitempty,gtfield=From"`
		Min      *int          `json:"min"`
		Max      int           `json:"max" validate:"gtefield=Min"`
		Short    time.Duration `json:"short" validate:"ltfield=Long,max=1m"`
		Long     time.Duration `json:"long"`
		Future   time.Time     `json:"future" validate:"gt"`
	}
	three, noon := 3, time.Unix(1000, 0)
	expect(t, &request{Password: "a", From: noon, To: &noon, Min: &three, Max: 2, Short: time.Hour, Long: time.Minute, Future: noon},
		"again must equal password", "to must be greater than from", "max must not be less than min", "short must be less than long", "short must be at most 1m0s", "future must be in the future")
	later := noon.Add(1)
	expect(t, &request{Password: "a", Again: "a", From: noon, To: &later, Min: &three, Max: 3, Long: 1, Future: time.Now().Add(time.Hour)})
}

// What cannot be applied is refused before there is a request, with the field.
func TestTagsThatCannotApply(t *testing.T) {
	t.Parallel()
	type withText struct {
		T level `json:"t" validate:"min=1"`
	}
	for want, of := range map[string]any{
		"field N: rule least is unknown": struct {
			N int `validate:"least=1"`
		}{},
		"field N: rule maxlength is unknown: want max": struct {
			N string `validate:"maxlength=1"`
		}{},
		"rule required_if is unknown: package validation": struct {
			N string `validate:"required_if=A 1"`
		}{},
		"rule b is unknown": struct {
			N string `validate:"oneof=a|b"`
		}{},
		"rule oneof=a b: cannot apply to []string: want a string": struct {
			N []string `validate:"oneof=a b"`
		}{},
		"rule min: cannot apply to time.Time: want gt": struct {
			N time.Time `validate:"min"`
		}{},
		"rule ne: cannot apply to time.Time: want gt": struct {
			N time.Time `validate:"ne"`
		}{},
		"rule gt=now: cannot apply to time.Time: want gt": struct {
			N time.Time `validate:"gt=now"`
		}{},
		"rule min=1: cannot apply to bool": struct {
			N bool `validate:"min=1"`
		}{},
		"rule min=x: want a number that int can hold": struct {
			N int `validate:"min=x"`
		}{},
		"rule max=300: the parameter is out of the range of int8": struct {
			N int8 `validate:"max=300"`
		}{},
		"rule min=-1: want a number that uint can hold": struct {
			N uint `validate:"min=-1"`
		}{},
		"rule min=1.5: want a number that int can hold": struct {
			N int `validate:"min=1.5"`
		}{},
		"rule max=-1: want a number of characters from 0 to 2147483647": struct {
			N string `validate:"max=-1"`
		}{},
		"rule email: cannot apply to int: want a string": struct {
			N int `validate:"email"`
		}{},
		"rule email=x: must not have a parameter": struct {
			N string `validate:"email=x"`
		}{},
		"rule contains: requires a parameter": struct {
			N string `validate:"contains"`
		}{},
		"rule oneof=1 x: want numbers that int can hold": struct {
			N int `validate:"oneof=1 x"`
		}{},
		"rule oneof: want values": struct {
			N int `validate:"oneof"`
		}{},
		"dive cannot apply to string": struct {
			N string `validate:"dive,min=1"`
		}{},
		"keys cannot apply to []string": struct {
			N []string `validate:"dive,keys,min=1,endkeys"`
		}{},
		"keys must follow dive": struct {
			N map[string]int `validate:"keys,min=1,endkeys"`
		}{},
		"keys without endkeys": struct {
			N map[string]int `validate:"dive,keys,min=1"`
		}{},
		"endkeys without keys": struct {
			N map[string]int `validate:"dive,endkeys"`
		}{},
		"elements: rule min=1: cannot apply to bool": struct {
			N []bool `validate:"dive,min=1"`
		}{},
		"a rule is empty": struct {
			N int `validate:"min=1,"`
		}{},
		"required and omitempty contradict": struct {
			N int `validate:"required,omitempty"`
		}{},
		"cannot apply to the struct validation_test.item": struct {
			N item `validate:"required"`
		}{},
		"which always has 2 elements": struct {
			N [2]int `validate:"required"`
		}{},
		"rule eqfield=X: struct": struct {
			N int `validate:"eqfield=X"`
		}{},
		"rule eqfield=M: field M has the type string, want int": struct {
			N int `validate:"eqfield=M"`
			M string
		}{},
		"rule gtfield=M: cannot apply to string": struct {
			N string `validate:"gtfield=M"`
			M string
		}{},
		"rule unique: cannot apply to []validation_test.item": struct {
			N []item `validate:"unique"`
		}{},
		"rule gt=1: cannot apply to time.Time": struct {
			N time.Time `validate:"gt=1"`
		}{},
		"rule max=1: want a duration such as 1m30s": struct {
			N time.Duration `validate:"max=1"`
		}{},
		"field N: it has rules, but is not a field of requests": struct {
			N string `json:"-" validate:"required"`
		}{},
		"field T: rule min=1: cannot apply to validation_test.level": withText{},
		"field Items: elements: field Name: rule min=x: want a number of characters": struct {
			Items []struct {
				Name string `validate:"min=x"`
			}
		}{},
		"rule \"required=1\"": struct {
			N int `validate:"required=1"`
		}{},
		"field A: rule a is unknown: package validation lists the rules; for other requirements, declare a method Validate() error\nfield B: rule b": struct {
			A int `validate:"a"`
			B int `validate:"b"`
		}{},
		"want a struct":     7,
		"cannot be decoded": struct{ C fmt.Stringer }{},
		"the method Validate of the embedded": struct {
			*Selfish
			Other
		}{},
	} {
		if _, err := validation.New(reflect.TypeOf(of), validation.Parameters); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, want %q", of, err, want)
		}
	}
}

type level int

func (level) MarshalText() ([]byte, error)  { return nil, nil }
func (*level) UnmarshalText(_ []byte) error { return nil }

type Selfish struct{}

func (*Selfish) Validate() error { return nil }

type Other struct{}

func (Other) Validate() error { return nil }

type span struct {
	From int `json:"from" validate:"min=1"`
	To   int `json:"to"`
}

var errSpan = chassi.NewError(chassi.InvalidArgument, "empty_span", "The span is empty")

func (s *span) Validate() error {
	if s.To < s.From {
		return errSpan.WithViolations(chassi.Violation{Field: "to", Message: "is before from"})
	}
	return nil
}

type color string

func (c color) Validate() error {
	if c == "puce" {
		return errors.New("is out\nof fashion")
	}
	if c == "secret" {
		return chassi.NewError(chassi.PermissionDenied, "not_yours", "Not yours")
	}
	return nil
}

// Types validate themselves wherever they are.
func TestTypesValidateThemselves(t *testing.T) {
	t.Parallel()
	type request struct {
		Span    span            `json:"span"`
		Spans   []*span         `json:"spans"`
		Named   map[string]span `json:"named"`
		Color   color           `json:"color"`
		Colors  []color         `json:"colors"`
		Palette map[color]color `json:"palette"`
	}
	good := span{1, 2}
	expect(t, &request{Span: good, Spans: []*span{nil, &good}, Named: map[string]span{"a": good}})
	bad := span{2, 1}
	r := &request{Span: bad, Spans: []*span{&bad, {0, -1}}, Named: map[string]span{"a": bad}, Color: "puce", Colors: []color{"", "puce"}, Palette: map[color]color{"puce": "puce"}}
	expect(t, r, "span.to is before from", "spans[0].to is before from", "spans[1].from must be at least 1", `named["a"].to is before from`,
		"color is out of fashion", "colors[1] is out of fashion", `palette["puce"] has a name that is out of fashion`, `palette["puce"] is out of fashion`)
	c, err := validation.New(reflect.TypeFor[request](), validation.Parameters)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(&request{Span: bad}); !errors.Is(err, errSpan) {
		t.Errorf("%v, want the type's own error", err)
	}
	if err := c.Check(&request{Span: span{0, -1}, Spans: []*span{&bad}}); errors.Is(err, errSpan) {
		t.Errorf("%v, want the error of the tags", err)
	}
	if err := c.Check(&request{Span: good, Color: "secret", Colors: []color{"puce"}}); chassi.ErrorOf(err).Reason != "not_yours" {
		t.Errorf("%v, want the failure", err)
	}
}

type whole struct{}

func (whole) Validate() error { return errSpan }

// An error of the request itself stays as it is.
func TestARequestsOwnError(t *testing.T) {
	t.Parallel()
	c, err := validation.New(reflect.TypeFor[whole](), validation.Parameters)
	if err != nil {
		t.Fatal(err)
	}
	if e := chassi.ErrorOf(c.Check(&whole{})); e.Reason != "empty_span" || len(e.Violations) != 0 {
		t.Errorf("%+v", e)
	}
}

type Base struct {
	Name  string `json:"name"`
	calls *int
}

func (b *Base) Validate() error { *b.calls++; return nil }

// A promoted method is called once, and not through a nil pointer.
func TestAPromotedMethod(t *testing.T) {
	t.Parallel()
	type byValue struct{ Base }
	type byPointer struct{ *Base }
	calls := 0
	expect(t, &byValue{Base{calls: &calls}})
	expect(t, &byPointer{&Base{calls: &calls}})
	expect(t, &byPointer{})
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

type (
	// overriding declares the method that *Base has too.
	overriding struct{ *Base }
	// overridingValue does so with a value as receiver.
	overridingValue struct{ *Base }
	middle          struct{ *Base }
	// nested promotes the method over two levels.
	nested struct{ middle }
	// named promotes the method of a field of its own.
	named struct {
		*Base `json:"base"`
	}
	// both has the method of overriding, which is at a lower depth.
	both struct {
		middle
		overriding
	}
	validator interface{ Validate() error }
	dynamic   struct {
		validator `json:"-"`
	}
)

func (*overriding) Validate() error     { return errors.New("is never valid") }
func (overridingValue) Validate() error { return errors.New("is never valid") }

// A nil pointer that is embedded stops only a method that is promoted through it.
func TestAMethodBesideAnEmbeddedOne(t *testing.T) {
	t.Parallel()
	expect(t, &overriding{}, "is never valid")
	expect(t, &overridingValue{}, "is never valid")
	expect(t, &overriding{&Base{calls: new(int)}}, "is never valid")
	expect(t, &nested{})
	expect(t, &named{})
	expect(t, &both{}, "is never valid")
	expect(t, &dynamic{})
	calls := 0
	expect(t, &nested{middle{&Base{calls: &calls}}})
	expect(t, &both{middle: middle{&Base{calls: &calls}}}, "is never valid")
	expect(t, &dynamic{&Base{calls: &calls}})
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

// A response is bounded, whatever the request.
func TestViolationsAreBounded(t *testing.T) {
	t.Parallel()
	type request struct {
		Items []recursive     `json:"items"`
		Named map[string]item `json:"named"`
	}
	r := &request{Items: make([]recursive, 1000)}
	got := strings.Split(violations(t, r), "\n")
	if len(got) != 33 || got[31] != "items[31].name is required" || got[32] != "and 968 more" {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
	long := &request{Named: make(map[string]item)}
	for i := range 100 {
		long.Named[strconv.Itoa(i)+strings.Repeat("\x00é", 10<<10)] = item{"abc"}
	}
	text := violations(t, long)
	if len(text) > 6<<10 || strings.Contains(text, "\x00") || !strings.Contains(text, "more") {
		t.Errorf("%d bytes:\n%.300s", len(text), text)
	}
	deep := &recursive{Name: "a"}
	deep.Next = deep
	if text := violations(t, deep); !strings.Contains(text, "nests deeper than 1000 levels") || len(text) > 400 {
		t.Errorf("%d bytes: %.300s", len(text), text)
	}
}

func TestCheckRefusesOtherTypes(t *testing.T) {
	t.Parallel()
	c, err := validation.New(reflect.TypeFor[item](), validation.Parameters)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []any{nil, item{}, &span{}, (*item)(nil)} {
		if err := c.Check(wrong); err == nil {
			t.Errorf("%#v was checked", wrong)
		}
	}
	if idle, err := validation.New(reflect.TypeFor[struct{ A int }](), validation.Parameters); err != nil || !idle.Idle() || c.Idle() {
		t.Errorf("%v", err)
	}
}
