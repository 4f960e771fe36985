package main

import (
	"fmt"
	"slices"
	"strings"
)

const rule = "--------------------------------------------------------------------------------"

// render returns the content of the notices file: the components with their licenses, the copyright
// holders that only source files name, the reviews with their reasons, and each distinct text with
// the components to which it belongs.
func render(program string, platforms []platform, components []*component, reviews []review) string {
	numbers, distinct := number(components)
	var b strings.Builder
	fmt.Fprintf(&b, "Third-party notices of %s\n\n", program)
	b.WriteString(wrap("", program+" contains the components below, under their licenses, whose texts follow by number. "+
		"The list is the union of what is linked on "+names(platforms)+".") + "\n")
	for _, c := range components {
		fmt.Fprintf(&b, "%s\n%s", c.name, wrap("    ", strings.Join(c.licenses(), " AND ")+" "+c.references(numbers)))
	}
	renderCopyrights(&b, components)
	renderReviews(&b, reviews)
	for i, content := range distinct {
		fmt.Fprintf(&b, "\n%s\n[%d] of %s\n%s\n\n%s\n", rule, i+1, strings.Join(users(components, content), "\n    and "), rule, content)
	}
	return b.String()
}

// number numbers the distinct texts of the components from 1, in the order of their first use. It
// returns the number of each text, and the texts in the order of the numbers.
func number(components []*component) (map[string]int, []string) {
	numbers := make(map[string]int)
	var distinct []string
	for _, c := range components {
		for _, t := range c.texts {
			if numbers[t.content] == 0 {
				distinct = append(distinct, t.content)
				numbers[t.content] = len(distinct)
			}
		}
	}
	return numbers, distinct
}

func names(platforms []platform) string {
	names := make([]string, len(platforms))
	for i, p := range platforms {
		names[i] = p.String()
	}
	return strings.Join(names, ", ")
}

// licenses returns the identifiers of the allowed licenses in the texts of a component, sorted.
func (c *component) licenses() []string {
	var ids []string
	for _, t := range c.texts {
		for _, id := range t.licenses {
			if slices.Contains(allowed, id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (c *component) references(numbers map[string]int) string {
	var all []int
	for _, t := range c.texts {
		all = append(all, numbers[t.content])
	}
	slices.Sort(all)
	var b strings.Builder
	for _, n := range slices.Compact(all) {
		fmt.Fprintf(&b, " [%d]", n)
	}
	return b.String()
}

// users returns a string for each text that is equal to content: the name of the component and the
// name of the file, separated by a comma.
func users(components []*component, content string) []string {
	var names []string
	for _, c := range components {
		for _, t := range c.texts {
			if t.content == content {
				names = append(names, c.name+", "+t.file)
			}
		}
	}
	return names
}

func renderCopyrights(b *strings.Builder, components []*component) {
	b.WriteString("\nCopyright holders that source files name and the texts below do not:\n\n")
	for _, c := range components {
		if lines := c.copyrights(); len(lines) > 0 {
			fmt.Fprintf(b, "%s\n    %s\n", c.name, strings.Join(lines, "\n    "))
		}
	}
}

func renderReviews(b *strings.Builder, reviews []review) {
	b.WriteString("\nOther terms that the sources mention, and why they do not apply:\n\n")
	for _, r := range reviews {
		what := strings.TrimSuffix(r.component+", "+r.file, ", ")
		fmt.Fprintf(b, "%s\n%s", what, wrap("    ", strings.Join(r.licenses, ", ")+": "+r.reason))
	}
}

// wrap breaks s into lines of at most 80 columns, each of which begins with margin.
func wrap(margin, s string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(s) {
		switch {
		case column == 0:
			b.WriteString(margin)
			column = len(margin)
		case column+1+len(word) > len(rule):
			b.WriteString("\n" + margin)
			column = len(margin)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String() + "\n"
}
