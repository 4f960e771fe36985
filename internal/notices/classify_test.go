package main

import (
	"slices"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	const bsd3 = bsd2 + ` Neither the name of the copyright holder nor the names of its contributors
may be used to endorse or promote products`
	cases := map[string]struct {
		text string
		want string
	}{
		"MIT":                  {mit, "MIT"},
		"MIT in capitals":      {strings.ToUpper(mit), "MIT"},
		"two clauses":          {bsd2, "BSD-2-Clause"},
		"three clauses":        {bsd3, "BSD-3-Clause"},
		"four clauses":         {bsd3 + "\nAll advertising materials mentioning features or use of this software\nmust display", "BSD-4-Clause"},
		"two BSD texts":        {bsd2 + "\n\n" + bsd3, "BSD-2-Clause BSD-3-Clause"},
		"several":              {mit + "\n----\n" + bsd3, "BSD-3-Clause MIT"},
		"Apache":               {"Apache License\n  Version 2.0, January 2004", "Apache-2.0"},
		"Apache's header":      {`Licensed under the Apache License, Version 2.0 (the "License");`, "Apache-2.0"},
		"ISC":                  {"Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted, provided that the above copyright notice", "ISC"},
		"ISC without a slash":  {"Permission to use, copy, modify, and distribute this software for any\npurpose with or without fee is hereby granted, provided that the above copyright notice", "ISC"},
		"0BSD":                 {`Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted. THE SOFTWARE IS`, "0BSD"},
		"Zlib":                 {"The origin of this software must not be misrepresented", "Zlib"},
		"SQLite":               {"** The author disclaims copyright to this source code.  In place of", publicDomain},
		"Unlicense":            {"This is free and unencumbered software released into the public domain.", publicDomain + " Unlicense"},
		"MPL":                  {"Mozilla Public License Version 2.0", "MPL-2.0"},
		"MPL, short":           {"Mozilla Public License, v. 2.0", "MPL-2.0"},
		"LGPL is not GPL":      {"GNU Lesser General Public License", "LGPL"},
		"GPL":                  {"GNU GENERAL PUBLIC LICENSE Version 3", "GPL"},
		"GCC's exception":      {"GNU General Public License ... described in the GCC Runtime Library Exception, version 3.1", gccException},
		"restricted MIT":       {`"Commons Clause" License Condition v1.0 ` + mit, "Commons-Clause MIT"},
		"prose":                {"This is licensed under terms that our lawyers know.", ""},
		"nothing":              {"", ""},
		"HTML in a text":       {"<b>Business Source License 1.1</b>", "BUSL-1.1"},
		"words across a break": {"Server\n   Side\n Public License", "SSPL-1.0"},
	}
	for name, c := range cases {
		if got := strings.Join(classify(c.text), " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestCommentsOfGoAndAssembly(t *testing.T) {
	t.Parallel()
	const source = `// Copyright 2001 A
// second line

// a comment without the word
package p // Copyright 2002 B

/*
 * Copyright 2003 C
 *
 *   indented
 */
const s = "// Copyright 2004 a string is no comment"

TEXT ·f(SB), NOSPLIT, $0-8 // copyright 2005 D
`
	want := []string{"Copyright 2001 A\nsecond line\n", "Copyright 2002 B\n", "\nCopyright 2003 C\n\n  indented\n \n", "copyright 2005 D\n"}
	if got := comments([]byte(source)); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestCopyrightLines(t *testing.T) {
	t.Parallel()
	cases := map[string]bool{
		"Copyright 2019 The New Authors. All rights reserved.": true,
		"Copyright (c) 2011-2015, Jane Doe <jane@example.org>": true,
		"Copyright © 1994 Lucent Inc.":                         true,
		"(C) 2010 Lockless Inc.":                               true,
		"Portions copyright (c) 2015 go-ldap Authors":          true,
		"Copyright The OpenTelemetry Authors":                  true,
		"COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM":            false,
		"copyright notice, this list of conditions":            false,
		"(c) otherwise, the page is not in the list":           false,
		"The copyright of 2019 belongs to somebody":            false,
		"Copyright 2019": false,
	}
	for line, want := range cases {
		if got := holderOf(line); (got != "") != want {
			t.Errorf("%q: holder %q, want one: %v", line, got, want)
		}
	}
	holders := make(map[string]string)
	addHolders(holders, "Copyright 2020 A Person\n  Copyright 2018-2026 A Person. All rights reserved.\nCopyright 2019 A Person\n")
	if len(holders) != 1 || holders["a person"] != "Copyright 2018-2026 A Person. All rights reserved." {
		t.Errorf("of lines that differ in their years it keeps %q", holders)
	}
}

// What is read comes from the authors of modules.
func FuzzComments(f *testing.F) {
	f.Add([]byte("// Copyright 2001 A\n/* license */ package p"))
	f.Add([]byte("TEXT ·f(SB) // 'copyright\n`"))
	f.Fuzz(func(t *testing.T, source []byte) {
		for _, group := range comments(source) {
			if len(group) > 2*len(source)+2 {
				t.Errorf("a comment of %d bytes in a file of %d", len(group), len(source))
			}
			classify(group)
			addHolders(map[string]string{}, group)
		}
	})
}
