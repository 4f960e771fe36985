package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// check returns an error if a value of the field violates its tags or names a file that cannot be
// read. Zero values are permitted.
func (f *field) check() error {
	if f.isZero() {
		return nil
	}
	if err := f.checkText(); err != nil {
		return err
	}
	if f.tag.Get("format") != "file" {
		return nil
	}
	return f.each(func(_ reflect.Value, path string) error { return checkFile(path) })
}

// checkText returns an error if a value of the field violates its tags.
func (f *field) checkText() error {
	return f.each(f.checkScalar)
}

// each calls do with each value of the field and its text. It stops at the first error and returns
// it, for a value in a list as an [elementError]. A nil pointer, a map and a list of structs have no
// values here.
func (f *field) each(do func(v reflect.Value, text string) error) error {
	v := f.value
	switch {
	case f.hasElements(), v.Kind() == reflect.Pointer && v.IsNil():
		return nil
	case isScalar(v.Type()):
		return do(v, scalarText(v))
	case v.Kind() == reflect.Pointer:
		return do(v.Elem(), scalarText(v.Elem()))
	default:
		for i, item := range v.Seq2() {
			if err := do(item, scalarText(item)); err != nil {
				return &elementError{fmt.Sprintf("[%d]", i.Int()), scalarText(item), err}
			}
		}
		return nil
	}
}

// checkScalar returns an error if v, one value of the field, violates one of the tags oneof,
// format, min and max. text is v in the form in which it is configured.
func (f *field) checkScalar(v reflect.Value, text string) error {
	if allowed, ok := f.tag.Lookup("oneof"); ok && !slices.Contains(strings.Split(allowed, ","), text) {
		return fmt.Errorf("must be one of %s%s", strings.ReplaceAll(allowed, ",", ", "), suggest(text, strings.Split(allowed, ",")))
	}
	if format, ok := f.tag.Lookup("format"); ok && text != "" {
		if err := checkFormat(format, text); err != nil {
			return err
		}
	}
	for _, limit := range []struct {
		tag, words string
		wrong      int
	}{{"min", "least", -1}, {"max", "most", 1}} {
		text, ok := f.tag.Lookup(limit.tag)
		if !ok {
			continue
		}
		bound := reflect.New(v.Type()).Elem()
		if err := f.parse(bound, text); err != nil {
			return err // not reached: checkTags has read the same tags
		}
		if compare(v, bound) == limit.wrong {
			return fmt.Errorf("must be at %s %s", limit.words, text)
		}
	}
	return nil
}

func compare(a, b reflect.Value) int {
	switch {
	case a.CanInt():
		return cmp.Compare(a.Int(), b.Int())
	case a.CanUint():
		return cmp.Compare(a.Uint(), b.Uint())
	default:
		return cmp.Compare(a.Float(), b.Float())
	}
}

// checkTags returns an error if the tag min, max or format does not match the type of the field or
// is malformed.
func (f *field) checkTags() error {
	t := f.scalarType()
	for _, name := range []string{"min", "max"} {
		limit, ok := f.tag.Lookup(name)
		if !ok {
			continue
		}
		v := reflect.New(t).Elem()
		if !v.CanInt() && !v.CanUint() && !v.CanFloat() {
			return fmt.Errorf("the tag %s is only for numbers and durations", name)
		}
		if err := f.parse(v, limit); err != nil {
			return fmt.Errorf("the tag %s:%q %w", name, limit, err)
		}
	}
	if format, ok := f.tag.Lookup("format"); ok {
		for alternative := range strings.SplitSeq(format, "|") {
			name, _, _ := strings.Cut(alternative, ":")
			switch {
			case t.Kind() != reflect.String:
				return fmt.Errorf("the tag format:%q is only for strings", format)
			case name == "":
				return fmt.Errorf("the tag format:%q contains an empty format", format)
			}
		}
	}
	return nil
}

// checkFormat returns an error if text has none of the forms in the format tag. The forms are
// separated by "|": addr, file, url:SCHEME,SCHEME, urls:SCHEME,SCHEME, or a literal word.
func checkFormat(format, text string) error {
	var wants []string
	for alternative := range strings.SplitSeq(format, "|") {
		name, arg, _ := strings.Cut(alternative, ":")
		want := ""
		switch name {
		case "addr":
			want = checkAddr(text)
		case "url":
			want = checkURL(text, strings.Split(arg, ","))
		case "urls":
			want = checkURLs(strings.Split(text, ","), strings.Split(arg, ","))
		case "file":
		default:
			if text != name {
				want = name
			}
		}
		if want == "" {
			return nil
		}
		wants = append(wants, want)
	}
	return errors.New("must be " + strings.Join(wants, ", or "))
}

// checkAddr returns the required form if text is not an address to listen on, and "" otherwise.
func checkAddr(text string) string {
	host, port, err := net.SplitHostPort(text)
	n, bad := strconv.Atoi(port)
	if err != nil || bad != nil || n < 0 || n > 65535 || strings.ContainsFunc(host, isInvalidInHost) {
		return "HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080"
	}
	return ""
}

// isInvalidInHost reports whether r cannot be part of a host.
func isInvalidInHost(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("/@,?#\\\"", r)
}

// checkURL returns the required form if text is not a URL with a host, or with a path for the
// scheme unix, and with one of the schemes. Otherwise it returns "".
func checkURL(text string, schemes []string) string {
	want := schemes[0] + "://HOST:PORT"
	if len(schemes) > 1 {
		want += " (or " + strings.Join(schemes[1:], ", ") + ")"
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return want + "; percent-encode special characters in the user and password"
	case u.Scheme == "unix" && u.Path != "" && slices.Contains(schemes, "unix"):
		return ""
	case u.Hostname() == "" || !slices.Contains(schemes, u.Scheme) || strings.ContainsFunc(u.Hostname(), isInvalidInHost):
		return want
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return want + " with a port from 1 to 65535"
		}
	}
	return ""
}

// checkURLs returns the required form if one of texts is not a valid URL, and "" otherwise.
func checkURLs(texts, schemes []string) string {
	for i, text := range texts {
		want := checkURL(strings.TrimSpace(text), schemes)
		if want == "" {
			continue
		}
		want += ", several with commas between"
		if len(texts) > 1 {
			want += fmt.Sprintf(" (number %d is not)", i+1)
		}
		return want
	}
	return ""
}

// checkFile returns an error if path is not a file that can be read.
func checkFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("must be a file that can be read: %w", errors.Unwrap(err))
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return errors.New("must be a file, not a directory")
	}
	return nil
}
