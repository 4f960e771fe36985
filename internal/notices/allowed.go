package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// allowed lists the licenses whose conditions a program under Apache-2.0 satisfies by including
// their text. MPL-2.0 is not included: section 3.2 also requires a notice of where the source
// is available (docs/decisions/0020).
var allowed = []string{
	"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "SunPro", "Unlicense", "Zlib", publicDomain,
}

// unknown is the identifier of a license that is not recognized.
const unknown = "unknown"

// review records that a person has examined licenses that a component contains or names, and has
// found that they do not apply.
type review struct {
	component, file string // file is "" for the comments of all source files
	licenses        []string
	// declarations restricts the review to comments of files that contain declarations, such as
	// constants and types, but no function.
	declarations bool
	reason       string // printed in the notices
	omit         bool   // leave the text out of the notices
}

var reviewed = []review{
	{
		component: standardLibrary, file: "src/crypto/internal/boring/LICENSE", licenses: []string{"BSD-4-Clause"}, omit: true,
		reason: "Of BoringCrypto, which is linked with GOEXPERIMENT=boringcrypto and cgo only.",
	},
	{
		component: "modernc.org/libc", declarations: true,
		licenses: []string{"LGPL", "GPL", gccException, "APSL", "BSD-4-Clause"}, omit: true,
		reason: "Comments of the system's C headers, in files that contain no function: constants, types and names of an interface alone.",
	},
	{
		component: "modernc.org/memory", file: "LICENSE-LOGO", licenses: []string{unknown}, omit: true,
		reason: "The address of the picture in the module's README, which is not linked.",
	},
	{
		component: "modernc.org/sqlite", file: "LICENSE-3RD-PARTY.md", licenses: []string{"MPL-2.0", "GPL", "LGPL", "AGPL"},
		reason: "Of github.com/hashicorp/golang-lru, which by the same file is compiled into nothing (its section 3).",
	},
	{
		component: "modernc.org/sqlite", licenses: []string{"APSL", gccException}, omit: true,
		reason: "Comments of headers of the system and the compiler, which the translation to Go copied between the functions. The functions are SQLite's.",
	},
}

// covers reports whether the review applies to the license id in the text t of the component c.
func (r review) covers(c *component, t text, id string) bool {
	return r.component == c.name && slices.Contains(r.licenses, id) &&
		(r.file == t.file || r.file == "" && t.kind == comment) &&
		(!r.declarations || t.declarations)
}

// check removes from the components the texts that reviews omit. It returns an error if a component
// has no license file, if a license is neither allowed nor reviewed, or if a review does not apply
// to any text.
func check(components []*component, reviews []review) error {
	var problems []error
	used := make([]bool, len(reviews))
	for _, c := range components {
		if !slices.ContainsFunc(c.texts, func(t text) bool { return t.kind == licenseFile }) {
			problems = append(problems, fmt.Errorf("%s has no license file", c.name))
		}
		c.texts = slices.DeleteFunc(c.texts, func(t text) bool {
			omit, err := checkText(c, t, reviews, used)
			problems = append(problems, err)
			return omit
		})
	}
	for i, r := range reviews {
		if !used[i] {
			problems = append(problems, fmt.Errorf("allowed.go: the review of %s (%s) applies to nothing; remove it",
				strings.TrimSpace(r.component+" "+r.file), strings.Join(r.licenses, ", ")))
		}
	}
	return errors.Join(problems...)
}

// checkText reports whether a review omits the text t. It sets the elements of used for the reviews
// that cover a license of t, and returns an error if a license of t is neither allowed nor reviewed.
func checkText(c *component, t text, reviews []review, used []bool) (omit bool, err error) {
	for _, id := range doubtful(t) {
		i := slices.IndexFunc(reviews, func(r review) bool { return r.covers(c, t, id) })
		if i < 0 {
			return false, fmt.Errorf("%s: %s: license %s is not allowed and not reviewed in allowed.go; allowed: %s", c.name, t.file, id, strings.Join(allowed, ", "))
		}
		used[i] = true
		omit = omit || reviews[i].omit
	}
	if t.declarations {
		omit = omit || slices.ContainsFunc(reviews, func(r review) bool {
			return r.declarations && r.omit && r.component == c.name
		})
	}
	return omit, nil
}

// doubtful returns the licenses of a text that are not allowed, or [unknown] for a license file
// whose license is not recognized.
func doubtful(t text) []string {
	if t.kind == licenseFile && len(t.licenses) == 0 {
		return []string{unknown}
	}
	return slices.DeleteFunc(slices.Clone(t.licenses), func(id string) bool { return slices.Contains(allowed, id) })
}
