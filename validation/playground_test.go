package validation_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/validation"
	playground "github.com/go-playground/validator/v10"
)

// structOf makes a struct with one field A of a type and tag.
func structOf(of reflect.Type, tag string) reflect.Type {
	return reflect.StructOf([]reflect.StructField{{Name: "A", Type: of, Tag: reflect.StructTag(fmt.Sprintf("validate:%q", tag))}})
}

var corpus = []string{
	"", "a", "ab", "abc", "Ab", "ABC", "aé", "é", "łž", "a b", "a-b", "a_b", "1", "12", "007", "-1", "+1.5", "1.", ".5", "1e3", "0x1F", "0X", "ff", "#fff", "#ffff", "#12345", "#1a2b3c", "\x00", "a\tb", "\x7f", "ab\n",
	"ada@example.org", "ada@example", "ada@localhost", "@example.org", "a@b@c.org", "a b@example.org", "ada@example.org.", "ada@-example.org", "ada@exa_mple.org", "ada@1.2", "ada@b.c1", "é@exámple.org", "a..b@example.org", "<a@b.org>", "Ada <a@b.org>", ".a@b.org", "a+b@b.org",
	"+4930123456", "4930123456", "0049", "+123456789012345", "+1234567890123456",
	"http://a.b", "https://a.b/c?d#e", "HTTP://a", "http://", "http:", "mailto:a@b.org", "file:///x", "file:///", "file:", "/a/b", "a/b", "#x", "http://a b", "http://[::1]:80", "//a/b", "urn:isbn:1", "ftp://a", "http://#x", "://a", "http://a.b:99999999",
	"example", "example.org", "example.org.", "-a.org", "a-.org", "a..b", "1a.org", "a.1", "192.0.2.1", "192.0.2.256", "192.0.02.1", "::1", "::ffff:1.2.3.4", "fe80::1%eth0", "2001:db8::", "1:2:3", "[::1]", strings.Repeat("a", 64) + ".org", strings.Repeat("a.", 126) + "org",
	"192.0.2.0/24", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/024", "2001:db8::/32", "2001:db8::1/32", "::ffff:1.2.3.4/120", "::ffff:1.2.3.0/24",
	"a:1", ":1", "a:0", "a:65536", "a:65535", "a:b", "a", "[::1]:80", "example.org:443",
	"00:00:5e:00:53:01", "0000.5e00.5301", "00-00-5e-00-53-01", "00:00",
	"123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000", "123e4567-e89b-42d3-a456-426614174000", "123e4567-e89b-72d3-a456-426614174000", "123e4567e89b12d3a456426614174000", "123e4567-e89b-42d3-c456-426614174000",
	"01ARZ3NDEKTSV4RRFFQ69G5FAV", "01arz3ndektsv4rrffq69g5fav", "81ARZ3NDEKTSV4RRFFQ69G5FAV",
	"YQ==", "YWI=", "YWJj", "YQ", "Y===", "-_-_", "+/+/", "YQ==YQ==",
	"1.2.3", "1.2", "01.2.3", "1.2.3-rc.1+b.2", "1.2.3-01",
	"Europe/Berlin", "UTC", "Local", "local", "Mars/Base", "2006-01-02", "2026-02-30", "2026-02-28", "12:30",
}

// A tag means what it means in go-playground/validator.
func TestTextRulesAreThoseOfGoPlayground(t *testing.T) {
	t.Parallel()
	theirs := playground.New(playground.WithRequiredStructEnabled())
	tags := strings.Fields(`alpha alphanum alphaunicode alphanumunicode ascii printascii lowercase uppercase number numeric hexadecimal hexcolor base64 base64url
		contains=b containsany=bé excludes=b excludesall=bé startswith=a endswith=b startsnotwith=a endsnotwith=b contains=. startswith=+ contains=0x2C containsany=0x7Ca
		email e164 url http_url uri hostname hostname_rfc1123 fqdn hostname_port ip ipv4 ipv6 cidr cidrv4 cidrv6 mac uuid uuid4 uuid7 ulid semver timezone
		datetime=2006-01-02 min=2 max=2 len=2 eq=ab ne=ab gt=1 gte=1 lt=2 lte=2 required omitempty,min=2 required,max=2 omitempty,email email|ip alpha|number
		min=0 len=0 eq=a|eq=ab`)
	tags = append(tags, "oneof=a ab 'a b'", "noneof=a ab 'a b'", "oneof='a'", "datetime=15:04")
	for _, tag := range tags {
		of := structOf(reflect.TypeFor[string](), tag)
		ours, err := validation.New(of, validation.Parameters)
		if err != nil {
			t.Errorf("%s: %v", tag, err)
			continue
		}
		for _, text := range corpus {
			v := reflect.New(of)
			v.Elem().Field(0).SetString(text)
			got, want := ours.Check(v.Interface()) == nil, theirs.Struct(v.Interface()) == nil
			if got != want && (got || !strings.Contains(tag, "email")) {
				t.Errorf("%s: %q is accepted: %v, by go-playground/validator: %v", tag, text, got, want)
			}
		}
	}
	for text, want := range map[string]bool{
		"ada@example.org": true, "a+b@b.org": true, "é@exámple.org": true, "ada@example.org.": false, "\"a b\"@example.org": false, "ada@localhost": false, "ada@1.2": false,
	} {
		v := struct {
			A string `validate:"email"`
		}{text}
		if got := violations(t, &v) == ""; got != want {
			t.Errorf("email: %q is accepted: %v", text, got)
		}
	}
}

func TestOtherRulesAreThoseOfGoPlayground(t *testing.T) {
	t.Parallel()
	theirs := playground.New(playground.WithRequiredStructEnabled())
	one, two := 1, 2
	zero := 0
	for _, c := range []struct {
		tags   string
		values []any
	}{
		{"min=2;max=2;len=2;eq=2;ne=2;gt=2;gte=2;lt=2;lte=2;oneof=1 2;noneof=1 2;required;omitempty,min=2;required,min=1;min=-1", []any{-1, 0, 1, 2, 3}},
		{"min=2;max=2;len=2;eq=2;ne=2;gt=2;gte=2;lt=2;lte=2;oneof=1 2;noneof=1 2;required;omitempty,min=2", []any{uint8(0), uint8(1), uint8(2), uint8(3)}},
		{"min=1.5;max=1.5;len=1.5;eq=1.5;ne=1.5;gt=1.5;gte=1.5;lt=1.5;lte=1.5;required;omitempty,min=2", []any{-1.5, 0.0, 1.4, 1.5, 1.6}},
		{"eq=true;ne=true;required;omitempty,eq=true", []any{true, false}},
		{"min=1;max=1;len=1;eq=1;ne=1;gt=1;gte=1;lt=1;lte=1;unique;dive,min=2;min=1,dive,required;unique,dive,max=2", []any{[]int(nil), []int{0}, []int{2}, []int{2, 2}, []int{1, 2}, []int{3, 2}}},
		{"min=1;max=1;len=1;unique;dive,keys,alpha,endkeys,min=2;dive,required", []any{map[string]int(nil), map[string]int{"a": 1}, map[string]int{"1": 2}, map[string]int{"a": 2, "b": 2}, map[string]int{"a": 0, "b": 1}}},
		{"min=2;omitempty,min=2;required;required,min=2;omitempty,eq=0;oneof=0 2", []any{(*int)(nil), &zero, &one, &two}},
		{"min=1,dive,min=1;required;omitempty,min=1", []any{(*[]int)(nil), &[]int{1}, &[]int{0}}},
		{"dive,required;dive,omitempty,min=2;dive,min=2", []any{[]*int{}, []*int{nil}, []*int{&zero}, []*int{&two}}},
	} {
		for tag := range strings.SplitSeq(c.tags, ";") {
			for _, value := range c.values {
				of := structOf(reflect.TypeOf(value), tag)
				ours, err := validation.New(of, validation.Parameters)
				if err != nil {
					t.Errorf("%s: %v", tag, err)
					continue
				}
				v := reflect.New(of)
				v.Elem().Field(0).Set(reflect.ValueOf(value))
				if got, want := ours.Check(v.Interface()) == nil, theirs.Struct(v.Interface()) == nil; got != want {
					t.Errorf("%s: %T %v is accepted: %v, by go-playground/validator: %v", tag, value, value, got, want)
				}
			}
		}
	}
}

// Whatever a tag has, it is a checker or an error, and what go-playground/validator takes
// for a broken tag is one for us.
func FuzzTag(f *testing.F) {
	for _, seed := range []string{"required,min=1", "dive,keys,max=3,endkeys,required", "oneof='a b' c|email", "-", "omitempty,", "contains=0x2C", "eqfield=A", "dive,dive,dive", "contains=\x80", "a\xff=1"} {
		f.Add(seed)
	}
	types := []reflect.Type{
		reflect.TypeFor[string](), reflect.TypeFor[int8](), reflect.TypeFor[*float64](), reflect.TypeFor[[]string](), reflect.TypeFor[map[string][]uint](), reflect.TypeFor[[]byte](),
	}
	f.Fuzz(func(t *testing.T, tag string) {
		for _, of := range types {
			s := structOf(of, tag)
			ours, err := validation.New(s, validation.Parameters)
			if err != nil {
				continue
			}
			v := reflect.New(s)
			_ = ours.Check(v.Interface())
			if _, err := validation.Describe(s); err != nil {
				t.Errorf("%q: %v", tag, err)
			}
			field := v.Elem().Field(0)
			if of.Kind() == reflect.Slice {
				field.Set(reflect.MakeSlice(of, 3, 3))
			}
			_ = ours.Check(v.Interface())
		}
	})
}
