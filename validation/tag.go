package validation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// tag is a parsed validate tag: the rules for a value and, if the tag contains dive, the rules for
// the keys and elements of the value.
type tag struct {
	skip                bool // whether the tag is "-"
	required, omitEmpty bool
	rules               [][]word // each rule is a list of alternatives
	keys, elements      *tag     // nil if there are no such rules
}

// word is one alternative of a rule. In a tag it has the form name or name=param.
type word struct{ name, param string }

func (w word) String() string {
	if w.param == "" {
		return w.name
	}
	return w.name + "=" + w.param
}

// parseTag parses a tag in the syntax of github.com/go-playground/validator. Commas separate rules,
// and | separates alternatives. In a parameter, 0x2C means a comma and 0x7C means |. parseTag
// returns an error if the tag is malformed.
func parseTag(text string) (*tag, error) {
	switch {
	case text == "-":
		return &tag{skip: true}, nil
	case !utf8.ValidString(text):
		return nil, errors.New("the validate tag is not valid UTF-8")
	}
	words := strings.Split(text, ",")
	if text == "" {
		words = nil
	}
	p := tagParser{words: words}
	t, err := p.scope()
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("%s without keys", p.words[0])
	}
	return t, err
}

type tagParser struct{ words []string }

// scope parses the rules up to the end of the tag, or up to the word endkeys, which scope does not
// consume.
func (p *tagParser) scope() (*tag, error) {
	t := new(tag)
	for len(p.words) > 0 && p.words[0] != "endkeys" {
		text := p.words[0]
		p.words = p.words[1:]
		switch text {
		case "":
			return nil, errors.New("a rule is empty: want rules separated by single commas")
		case "required":
			t.required = true
		case "omitempty":
			t.omitEmpty = true
		case "keys":
			return nil, errors.New("keys must follow dive")
		case "dive":
			return t, p.dive(t)
		default:
			rule, err := parseRule(text)
			if err != nil {
				return nil, err
			}
			t.rules = append(t.rules, rule)
		}
		if t.required && t.omitEmpty {
			return nil, errors.New("required and omitempty contradict each other")
		}
	}
	return t, nil
}

// dive parses the scopes after the word dive into t: the rules for keys, if there are any, and then
// the rules for elements.
func (p *tagParser) dive(t *tag) (err error) {
	if len(p.words) > 0 && p.words[0] == "keys" {
		p.words = p.words[1:]
		if t.keys, err = p.scope(); err != nil {
			return err
		}
		if len(p.words) == 0 {
			return errors.New("keys without endkeys")
		}
		p.words = p.words[1:]
	}
	t.elements, err = p.scope()
	return err
}

var escapes = strings.NewReplacer("0x2C", ",", "0x7C", "|")

func parseRule(text string) ([]word, error) {
	var alternatives []word
	for alternative := range strings.SplitSeq(text, "|") {
		name, param, _ := strings.Cut(alternative, "=")
		if name == "" || strings.ContainsAny(name, " \t\n") {
			return nil, fmt.Errorf("rule %q: want name or name=parameter", alternative)
		}
		if name == "-" {
			return nil, fmt.Errorf("rule %q: - must be the whole tag", text)
		}
		if slices.Contains([]string{"required", "omitempty", "dive", "keys", "endkeys"}, name) {
			return nil, fmt.Errorf("rule %q: %s takes no parameter and cannot be an alternative", text, name)
		}
		alternatives = append(alternatives, word{name, escapes.Replace(param)})
	}
	return alternatives, nil
}
