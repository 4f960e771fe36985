package validation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// tag is a parsed validate tag: the rules of a value and, after dive, those of its
// elements and keys.
type tag struct {
	skip                bool // the tag is "-"
	required, omitEmpty bool
	rules               [][]word // each a list of alternatives
	keys, elements      *tag
}

// word is one rule as the tag has it: name or name=param.
type word struct{ name, param string }

func (w word) String() string {
	if w.param == "" {
		return w.name
	}
	return w.name + "=" + w.param
}

// parseTag parses a tag in the syntax of github.com/go-playground/validator: rules separated by
// commas, alternatives by |, and 0x2C and 0x7C for these two characters in a parameter.
func parseTag(text string) (*tag, error) {
	switch {
	case text == "-":
		return &tag{skip: true}, nil
	case !utf8.ValidString(text):
		return nil, errors.New("the tag is not UTF-8")
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

// scope parses rules up to the end of the tag or the word endkeys, which it does not consume.
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

// dive parses the scopes after the word dive: the rules of keys, if there are any, then those of
// elements.
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
		if slices.Contains([]string{"required", "omitempty", "dive", "keys", "endkeys", "-"}, name) {
			return nil, fmt.Errorf("rule %q: %s has no parameter and cannot be an alternative", text, name)
		}
		alternatives = append(alternatives, word{name, escapes.Replace(param)})
	}
	return alternatives, nil
}
