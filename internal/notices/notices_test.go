package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// R85: what a binary links changes with every dependency, and its notices with it.
// CHASSI_UPDATE=1 rewrites the files.
func TestNoticesOfEveryProgramAreCurrent(t *testing.T) {
	t.Parallel()
	needGoOfModule(t)
	programs, err := filepath.Glob("../../cmd/*")
	if err != nil || len(programs) == 0 {
		t.Fatalf("no program found under cmd/: %v", err)
	}
	for _, program := range programs {
		t.Run(filepath.Base(program), func(t *testing.T) {
			t.Parallel()
			compareNotices(t, program)
		})
	}
}

func compareNotices(t *testing.T, program string) {
	t.Helper()
	// A program of its own is not slowed down by the race detector.
	cmd := exec.CommandContext(t.Context(), "go", "run", "-trimpath", ".", "-stdout", program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.String())
	}
	got := string(out)
	file := filepath.Join(program, fileName)
	if os.Getenv("CHASSI_UPDATE") == "1" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s is not what is linked. If the change is meant, rewrite it:\n\n\tmake notices\n\n(-file +linked)\n%s", file, diff)
	}
}

// needGoOfModule skips on a machine whose Go is not of the module's minor version,
// or comes without its license, as some distributions package it: the comments of
// the standard library differ. Continuous integration has the right one.
func needGoOfModule(t *testing.T) {
	t.Helper()
	if os.Getenv("CI") != "" {
		return
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.GoVersion}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := minor("go" + strings.TrimSpace(string(out))); minor(runtime.Version()) != want {
		t.Skipf("the notices are those of %s, this is %s", want, runtime.Version())
	}
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(strings.TrimSpace(string(root)), "LICENSE")); err != nil {
		t.Skipf("this Go comes without its license: %v", err)
	}
}

// minor returns "go1.26" for "go1.26.8".
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

const (
	mit = `Copyright (c) 2024 %

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction.`
	bsd2 = `Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met.`
)

// tree writes files, named by their paths, into a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// program is a module with one dependency, which a file of each kind belongs to.
func program(t *testing.T, change map[string]string) string {
	t.Helper()
	files := map[string]string{
		"prog/go.mod": "module example.org/prog\n\ngo 1.24\n\nrequire (\n\texample.org/dep v1.0.0\n\texample.org/win v1.0.0\n)\n\n" +
			"replace (\n\texample.org/dep => ../dep\n\texample.org/win => ../win\n)\n",
		"prog/LICENSE":                 strings.ReplaceAll(mit, "%", "Prog"),
		"prog/THIRD_PARTY_NOTICES.txt": "an older state, which is not one of its own licenses",
		"prog/main.go":                 "package main\n\nimport _ \"example.org/dep/sub\"\n\nfunc main() {}\n",
		"prog/main_windows.go":         "package main\n\nimport _ \"example.org/win\"\n",
		"dep/go.mod":                   "module example.org/dep\n\ngo 1.24\n",
		"dep/LICENSE":                  strings.ReplaceAll(mit, "%", "Dep"),
		"dep/NOTICE":                   "Dep includes work by Notice Ltd.",
		"dep/license.go":               "package dep\n",
		"dep/sub/COPYING.txt":          "Copyright 2001 Sub\n\n" + bsd2,
		"dep/sub/sub.go": "/*\n * Copyright (c) 1999 Comment Corp.\n *\n * " + strings.ReplaceAll(bsd2, "\n", "\n * ") +
			"\n */\n\n// Copyright 2002-2005 Line Author\n// Copyright notice and other prose\npackage sub\n\nfunc F() {}\n",
		"dep/other/LICENSE":  "GNU General Public License, of a package that is not linked",
		"dep/other/other.go": "package other\n",
		"win/go.mod":         "module example.org/win\n\ngo 1.24\n",
		"win/LICENSE":        strings.ReplaceAll(mit, "%", "Win"),
		"win/win.go":         "package win\n",
	}
	for name, content := range change {
		if files[name] = content; content == "" {
			delete(files, name)
		}
	}
	return filepath.Join(tree(t, files), "prog")
}

var linuxAndWindows = []platform{{"linux", "amd64"}, {"windows", "amd64"}}

func TestNoticesContainLinkedModules(t *testing.T) {
	t.Parallel()
	got, err := notices(t.Context(), program(t, nil), linuxAndWindows, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"license of the program":    "Copyright (c) 2024 Prog",
		"license of a module":       "Copyright (c) 2024 Dep",
		"on another platform":       "Copyright (c) 2024 Win",
		"notice":                    "Notice Ltd.",
		"license of a package":      "Copyright 2001 Sub",
		"license in a comment":      "Copyright (c) 1999 Comment Corp.\n\nRedistribution",
		"holder":                    "example.org/dep\n    Copyright 2002-2005 Line Author\n",
		"overview":                  "example.org/dep\n    BSD-2-Clause AND MIT [",
		"file":                      "of example.org/dep, sub/COPYING.txt\n",
		"standard library's notice": "of " + standardLibrary + ", LICENSE\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s: no %q", what, want)
		}
	}
	for what, forbidden := range map[string]string{
		"license of a package that is not linked": "GNU General",
		"its own older state":                     "an older state",
		"prose":                                   "other prose",
		"path of this machine":                    filepath.ToSlash(os.TempDir()),
	} {
		if strings.Contains(got, forbidden) {
			t.Errorf("%s: has %q", what, forbidden)
		}
	}
	if again, err := notices(t.Context(), program(t, nil), linuxAndWindows, nil); err != nil || again != got {
		t.Errorf("another run writes another file: %v\n%s", err, cmp.Diff(got, again))
	}
}

func err2string(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestNoticesRefuse(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change map[string]string
		want   string
	}{
		"module without a license": {map[string]string{"win/LICENSE": ""}, "example.org/win has no license file"},
		"text that is no license":  {map[string]string{"win/LICENSE": "Ask us."}, "example.org/win: LICENSE: license unknown is not allowed"},
		"copyleft":                 {map[string]string{"win/LICENSE": "GNU Affero General Public License"}, "example.org/win: LICENSE: license AGPL is not allowed"},
		"copyleft beside another": {
			map[string]string{"dep/LICENSE": mit + "\nor Mozilla Public License Version 2.0"},
			"example.org/dep: LICENSE: license MPL-2.0 is not allowed",
		},
		"copyleft in a comment": {
			map[string]string{"win/win.go": "// under the GNU General Public License\n\npackage win\n\nfunc F() {}\n"},
			"example.org/win: win.go: license GPL is not allowed",
		},
		"object file": {map[string]string{"win/x.syso": "?"}, "links the object files"},
		"broken code": {map[string]string{"win/win.go": "pack"}, "expected 'package'"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := notices(t.Context(), program(t, c.change), linuxAndWindows[1:], nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestReviewsAreNarrow(t *testing.T) {
	t.Parallel()
	lgpl := text{file: "types.go", kind: comment, licenses: []string{"LGPL"}, declarations: true}
	withCode := lgpl
	withCode.declarations = false
	whole := text{file: "COPYING", kind: licenseFile, licenses: []string{"LGPL"}}
	license := text{file: "LICENSE", kind: licenseFile, licenses: []string{"MIT"}}
	declarations := review{component: "m", licenses: []string{"LGPL"}, declarations: true, omit: true}
	cases := map[string]struct {
		text   text
		review review
		want   string // "" for accepted
	}{
		"declarations":              {lgpl, declarations, ""},
		"a function":                {withCode, declarations, "license LGPL is not allowed"},
		"a license file":            {whole, declarations, "license LGPL is not allowed"},
		"a named file":              {whole, review{component: "m", file: "COPYING", licenses: []string{"LGPL"}}, ""},
		"another file":              {whole, review{component: "m", file: "COPYING.2", licenses: []string{"LGPL"}}, "license LGPL is not allowed"},
		"another module":            {lgpl, review{component: "n", licenses: []string{"LGPL"}}, "license LGPL is not allowed"},
		"another license":           {lgpl, review{component: "m", licenses: []string{"GPL"}}, "license LGPL is not allowed"},
		"nothing left to review":    {license, declarations, "applies to nothing; remove it"},
		"a permissive license, too": {license, review{component: "m", file: "LICENSE", licenses: []string{"MIT"}}, "applies to nothing; remove it"},
	}
	for name, c := range cases {
		m := &component{name: "m", texts: []text{license, c.text}}
		err := check([]*component{m}, []review{c.review})
		if got := err2string(err); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: error %q, want %q in it", name, got, c.want)
		}
		if err == nil && c.review.omit && len(m.texts) != 1 {
			t.Errorf("%s: the text is in the notices", name)
		}
	}
}
