package main

import (
	"regexp"
	"slices"
	"strings"
)

// publicDomain is the identifier for all dedications to the public domain.
const publicDomain = "LicenseRef-public-domain"

// gccException is the SPDX license expression for the GPL with the GCC runtime library exception,
// which permits the distribution of the compiler's output under any terms.
const gccException = "GPL-3.0-or-later WITH GCC-exception-3.1"

// wordings lists the patterns that identify licenses in normalized text, by a phrase of the license
// or by its name. More than one pattern may match a text.
var wordings = []struct {
	id      string // SPDX identifier, or the name of a family such as "GPL"
	pattern *regexp.Regexp
}{
	{"MIT", regexp.MustCompile(`permission is hereby granted free of charge to any person obtaining a copy of (this|the) software and (associated|its) documentation( files?)?`)},
	{"ISC", regexp.MustCompile(`permission to use copy modify and (or )?distribute this software (and its documentation )?for any purpose (with or )?without fee is hereby granted provided that the above copyright notice`)},
	{"0BSD", regexp.MustCompile(`permission to use copy modify and (or )?distribute this software for any purpose with or without fee is hereby granted the software is`)},
	{"Apache-2.0", regexp.MustCompile(`apache license version 2 0( january 2004)?|apache 2 0 licen[cs]e`)},
	{"Zlib", regexp.MustCompile(`the origin of this software must not be misrepresented`)},
	{"Unlicense", regexp.MustCompile(`this is free and unencumbered software released into the public domain`)},
	{"BSL-1.0", regexp.MustCompile(`boost software license version 1 0`)},
	{"CC0-1.0", regexp.MustCompile(`cc0 1 0 universal|creative commons zero`)},
	{"SunPro", regexp.MustCompile(`permission to use copy modify and distribute this software is freely granted provided that this notice is preserved`)},
	{publicDomain, regexp.MustCompile(`dedicated to the public domain|the author disclaims copyright to this source code|placed (it )?(in|into) the public domain|released (in|into) the public domain`)},

	// Below: none that is allowed.
	{"MPL-2.0", regexp.MustCompile(`mozilla public license (version|v) ?2 0`)},
	{"MPL-1.1", regexp.MustCompile(`mozilla public license version 1 [01]`)},
	{"LGPL", regexp.MustCompile(`gnu (lesser|library) general public license`)},
	{"AGPL", regexp.MustCompile(`gnu affero general public license`)},
	{"GPL", regexp.MustCompile(`gnu general public license`)},
	{gccException, regexp.MustCompile(`gcc runtime library exception`)},
	{"SSPL-1.0", regexp.MustCompile(`server side public license`)},
	{"BUSL-1.1", regexp.MustCompile(`business source license`)},
	{"Elastic-2.0", regexp.MustCompile(`elastic license`)},
	{"Commons-Clause", regexp.MustCompile(`commons clause`)},
	{"EPL", regexp.MustCompile(`eclipse public license`)},
	{"CDDL", regexp.MustCompile(`common development and distribution license`)},
	{"APSL", regexp.MustCompile(`apple public source license`)},
	{"CC-BY-NC", regexp.MustCompile(`creative commons attribution noncommercial|for non ?commercial (use|purposes) only`)},
}

var (
	bsdStart       = regexp.MustCompile(`redistribution(s)? and use in source and binary forms`)
	bsdEndorsement = regexp.MustCompile(`neither the names? of|names? of [^.]{1,120} (may|must) not be used to endorse|the names? of [^.]{1,120} may be used to endorse`)
	bsdAdvertising = regexp.MustCompile(`all advertising materials mentioning features or use of this software must display`)
)

// classify returns the identifiers of the licenses that s contains or names, sorted and without
// duplicates. It searches for characteristic phrases and does not compare the whole text with that
// of a license, because a person reads the text before adding its license to the list.
func classify(s string) []string {
	s = normalize(s)
	var ids []string
	for _, w := range wordings {
		if w.pattern.MatchString(s) {
			ids = append(ids, w.id)
		}
	}
	starts := bsdStart.FindAllStringIndex(s, -1)
	for i, start := range starts {
		end := len(s)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		ids = append(ids, bsd(s[start[0]:end]))
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if slices.Contains(ids, gccException) {
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == "GPL" })
	}
	return ids
}

// bsd returns the SPDX identifier of the BSD license with the normalized text s, according to its
// clauses.
func bsd(s string) string {
	switch {
	case bsdAdvertising.MatchString(s):
		return "BSD-4-Clause"
	case bsdEndorsement.MatchString(s):
		return "BSD-3-Clause"
	default:
		return "BSD-2-Clause"
	}
}

var notWord = regexp.MustCompile(`[^\pL\pN]+`)

// normalize returns the words of s in lower case, with one space between them.
func normalize(s string) string {
	return strings.TrimSpace(notWord.ReplaceAllString(strings.ToLower(s), " "))
}
