package gotype

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Named is a type, or another item, that needs a name in a document. The name is derived from
// Fallback and Scope if Fallback is set, and from the Go name and package of Type otherwise.
type Named struct {
	Type     reflect.Type
	Fallback string // the name of an item without a Go name: "GetOrderRequest"
	Scope    string // the dotted name that contains Fallback: "orders.v1.Orders"
	Suffix   string // distinguishes several descriptions of one type: "Input"
}

// Names returns a unique name for each element of all. Each name is a valid identifier in every
// document and language. A short name such as "Order" is used if it is unique. If names conflict
// with each other or with a reserved name, they are prefixed with as much of the package or scope
// as necessary: "V1Order" and "V2Order". The result does not depend on the order of all. If names
// still conflict, Names returns an error with the locations of the types in roots.
func Names(all []Named, roots []Root, reserved ...string) (map[Named]string, error) {
	levels := make(map[Named]int, len(all))
	for _, n := range all {
		levels[n] = 0
	}
	for {
		groups := make(map[string][]Named)
		for n, level := range levels {
			name := n.name(level)
			groups[name] = append(groups[name], n)
		}
		changed, names := false, make(map[Named]string, len(levels))
		for name, group := range groups {
			if len(group) == 1 && !slices.Contains(reserved, name) {
				names[group[0]] = name
				continue
			}
			for _, n := range group {
				if levels[n] < n.maxLevel() {
					levels[n]++
					changed = true
				}
			}
		}
		if !changed {
			return names, unnamed(groups, names, roots, reserved)
		}
	}
}

// unnamed returns an error with the locations of the types whose names conflict with each other or
// with a reserved name, or nil if no names conflict.
func unnamed(groups map[string][]Named, names map[Named]string, roots []Root, reserved []string) error {
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		group := groups[name]
		if _, ok := names[group[0]]; ok {
			continue
		}
		var who []string
		for _, n := range group {
			text := n.String()
			if place := placeOf(n.Type, roots); place != "" {
				text += " (" + place + ")"
			}
			who = append(who, text)
		}
		slices.Sort(who)
		if slices.Contains(reserved, name) {
			return fmt.Errorf("%s: the document itself uses the name %s; choose another name", strings.Join(who, " and "), name)
		}
		return fmt.Errorf("%s have the same name %s; rename all but one", strings.Join(who, " and "), group[0].name(0))
	}
	return nil
}

// String returns Scope and Fallback if Fallback is set, and the package path and Go name of Type
// otherwise, joined by a dot.
func (n Named) String() string {
	if n.Fallback != "" {
		return n.Scope + "." + n.Fallback
	}
	return n.Type.PkgPath() + "." + n.Type.Name()
}

func (n Named) name(level int) string {
	if n.Fallback != "" {
		return qualified(n.Scope, ".", n.Fallback, level) + n.Suffix
	}
	base, arguments, _ := strings.Cut(n.Type.Name(), "[")
	return qualified(n.Type.PkgPath(), "/", base, level) + argumentWords(strings.TrimSuffix(arguments, "]"), level) + n.Suffix
}

func (n Named) maxLevel() int {
	if n.Fallback != "" {
		return strings.Count(n.Scope, ".") + 1
	}
	most := 0
	for word := range strings.FieldsFuncSeq(n.Type.PkgPath()+"."+n.Type.Name(), notInPath) {
		most = max(most, strings.Count(word, "/")+1)
	}
	return most
}

// qualified returns name as an identifier, prefixed with at most level words from the end of path.
func qualified(path, separator, name string, level int) string {
	words := strings.Split(path, separator)
	var b strings.Builder
	for _, word := range words[max(0, len(words)-level):] {
		b.WriteString(Identifier(word))
	}
	return b.String() + Identifier(name)
}

var (
	localType = regexp.MustCompile(`·\d+`)
	arrays    = regexp.MustCompile(`\[(\d+)\]`)
	symbols   = strings.NewReplacer("map[", " Map ", "[]", " List ", "*", " Ptr ", "interface {}", " Any ")
)

func notInPath(r rune) bool { return strings.ContainsRune("[](){}<>,; *·\"", r) }

// argumentWords converts the type arguments in the name of a generic type to one identifier, in
// which each type name is prefixed with at most level words of its package path: "string,int"
// becomes "StringInt".
func argumentWords(arguments string, level int) string {
	arguments = localType.ReplaceAllString(arguments, "")
	arguments = symbols.Replace(arrays.ReplaceAllString(arguments, " Array$1 "))
	var b strings.Builder
	for word := range strings.FieldsFuncSeq(arguments, notInPath) {
		path, name := "", word
		if i := strings.LastIndexByte(word, '.'); i >= 0 {
			path, name = word[:i], word[i+1:]
		}
		if path == "" {
			b.WriteString(Identifier(name))
			continue
		}
		b.WriteString(qualified(path, "/", name, level))
	}
	return b.String()
}

// Identifier converts text to a name in CamelCase of ASCII letters and digits. It replaces a
// character outside of ASCII with its code point, such as U00E9. It omits any other character and
// capitalizes the letter that follows. It also omits the suffix that package reflect appends to the
// name of a local type, such as ·1. It puts N in front of a name that would begin with a digit.
// Identifier returns "" if nothing remains.
func Identifier(text string) string {
	var b strings.Builder
	upper := true
	for _, r := range localType.ReplaceAllString(text, "") {
		switch {
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			if b.Len() == 0 && unicode.IsDigit(r) {
				b.WriteByte('N')
			}
			if upper {
				r = unicode.ToUpper(r)
			}
			b.WriteRune(r)
			upper = false
		case r >= unicode.MaxASCII:
			fmt.Fprintf(&b, "U%04X", r)
			upper = false
		default:
			upper = true
		}
	}
	return b.String()
}
