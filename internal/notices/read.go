package main

import (
	"bytes"
	"cmp"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// text is a license or a notice of a component.
type text struct {
	file     string // path relative to the component's root, with slashes
	content  string
	kind     kind
	licenses []string // identifiers, as returned by classify
	// declarations is set for a comment of a source file that contains no function.
	declarations bool
}

type kind int

const (
	licenseFile kind = iota // a license file, whose license must be recognized
	noticeFile              // a file such as NOTICE or PATENTS, which need not contain a license
	comment                 // a comment of a linked source file that contains or names a license
)

var (
	licenseName = regexp.MustCompile(`(?i)^(un)?(licen[cs]es?|copying|copyright|legal|eula|third[-_. ]?party([-_. ]?(licen[cs]es?|notices?))?)([-_. ].*)?$`)
	noticeName  = regexp.MustCompile(`(?i)^(notices?|patents?)([-_. ].*)?$`)
	// codeName matches the names of source files, such as license.go, which are not license files.
	codeName = regexp.MustCompile(`(?i)\.(go|s|c|h|cc|py|js|ts|sh|rb|proto|json|yaml|yml|toml|tmpl|prototext)$`)
)

// read reads the licenses and notices of the component into c.texts, sorted and without duplicates,
// and the copyright lines of its source files into c.holders.
func (c *component) read() error {
	if err := c.readFiles(); err != nil {
		return err
	}
	if err := c.readSources(); err != nil {
		return err
	}
	slices.SortFunc(c.texts, func(a, b text) int {
		return cmp.Or(strings.Compare(a.file, b.file), strings.Compare(a.content, b.content))
	})
	c.texts = slices.CompactFunc(c.texts, func(a, b text) bool { return a.file == b.file && a.content == b.content })
	return nil
}

// readFiles reads the license and notice files in the root directory of the component, in the
// directories of its linked packages and embedded files, and in all directories between them. It
// also reads the files in directories named LICENSES within these directories.
func (c *component) readFiles() error {
	folders := make(map[string]struct{})
	for folder := range c.folders {
		for ; len(folder) >= len(c.root); folder = filepath.Dir(folder) {
			folders[folder] = struct{}{}
		}
	}
	for folder := range folders {
		if err := c.readFolder(folder); err != nil {
			return err
		}
	}
	return nil
}

func (c *component) readFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		isNotice := noticeName.MatchString(name)
		if !isNotice && !licenseName.MatchString(name) || codeName.MatchString(name) || c.main && name == fileName {
			continue
		}
		path := filepath.Join(folder, name)
		if entry.IsDir() {
			// LICENSES/, as https://reuse.software has it. A package is not such a folder.
			if _, isPackage := c.folders[path]; !isPackage && strings.EqualFold(name, "LICENSES") {
				err = c.readAll(path)
			}
		} else {
			err = c.readFile(path, isNotice)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *component) readAll(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Type().IsRegular() {
			if err := c.readFile(filepath.Join(folder, entry.Name()), false); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *component) readFile(path string, isNotice bool) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	t := text{file: c.relative(path), content: tidy(string(content)), kind: licenseFile}
	t.licenses = classify(t.content)
	if isNotice {
		t.kind = noticeFile
	}
	c.texts = append(c.texts, t)
	return nil
}

func (c *component) relative(path string) string {
	rel, err := filepath.Rel(c.root, path)
	if err != nil {
		return filepath.ToSlash(path)
	}
	return filepath.ToSlash(rel)
}

// tidy removes a byte order mark, carriage returns before line feeds, white space at the end of
// lines, and empty lines at the beginning and the end, so that texts that differ only in these are
// equal.
func tidy(s string) string {
	lines := strings.Split(strings.ReplaceAll(strings.TrimPrefix(s, "\ufeff"), "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " \t\f\r")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// readSources reads the comments of linked files. It adds to c.texts the comments with licenses
// that the license files lack, and to c.holders the copyright lines of files that contain more than
// declarations.
func (c *component) readSources() error {
	known := c.words()
	kept := make(map[string][]string) // a comment to its licenses, if the files do not have them
	code := make(map[string]struct{}) // the comments of files that are more than declarations
	for path := range c.sources {
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		declarations := filepath.Ext(path) == ".go" && !hasFunction(source)
		for _, group := range comments(source) {
			licenses, seen := kept[group]
			if !seen {
				licenses = c.missing(group, known)
				kept[group] = licenses
			}
			if len(licenses) > 0 {
				c.texts = append(c.texts, text{
					file: c.relative(path), content: tidy(group), kind: comment, licenses: licenses, declarations: declarations,
				})
			}
			if !declarations {
				code[group] = struct{}{}
			}
		}
	}
	c.holders = make(map[string]string)
	for group := range code {
		addHolders(c.holders, group)
	}
	return nil
}

// copyrights returns the copyright lines in c.holders whose holders are not named in the texts of
// the component, sorted.
func (c *component) copyrights() []string {
	known := c.words()
	var lines []string
	for holder, line := range c.holders {
		if !strings.Contains(known, holder) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// words returns the normalized content of all texts of the component.
func (c *component) words() string {
	var b strings.Builder
	for _, t := range c.texts {
		b.WriteString(normalize(t.content) + " ")
	}
	return b.String()
}

// missing returns the licenses that the comment group contains or names, if the component's license
// files lack at least one of them, and nil otherwise. known is the normalized content of these
// files. A dedication to the public domain is never missing, because it needs no notice.
func (c *component) missing(group, known string) []string {
	licenses := classify(group)
	if !slices.ContainsFunc(licenses, func(id string) bool { return !c.has(id, group, known) }) {
		return nil
	}
	return licenses
}

// has reports whether the component's license files cover the license id, which was recognized in
// the comment group. For Apache-2.0, which comments only name, a license file must contain that
// license. For other licenses, known, the normalized content of the files, must contain the
// comment. For a dedication to the public domain, has returns true.
func (c *component) has(id, group, known string) bool {
	if id == publicDomain {
		return true
	}
	if id != "Apache-2.0" {
		return strings.Contains(known, normalize(group))
	}
	return slices.ContainsFunc(c.texts, func(t text) bool { return t.kind == licenseFile && slices.Contains(t.licenses, id) })
}

// hasFunction reports whether Go source contains a function.
func hasFunction(source []byte) bool {
	return bytes.HasPrefix(source, []byte("func ")) || bytes.Contains(source, []byte("\nfunc ")) || bytes.Contains(source, []byte("= func("))
}

// mayMatter matches the comments that are searched for licenses and copyright notices.
var mayMatter = regexp.MustCompile(`(?i)copyright|licen[cs]e|permission|redistribution|public domain`)

// comments returns those comments of a Go, assembly or header file that mayMatter matches, without
// their comment markers. Line comments on adjacent lines form one comment.
func comments(source []byte) []string {
	file := token.NewFileSet().AddFile("", -1, len(source))
	var s scanner.Scanner
	s.Init(file, source, func(token.Position, string) {}, scanner.ScanComments) // assembly is not Go, but has its comments

	var groups []string
	last := -2 // the line of the line comment before, if nothing follows it
	for {
		pos, tok, literal := s.Scan()
		if tok == token.EOF {
			return slices.DeleteFunc(groups, func(group string) bool { return !mayMatter.MatchString(group) })
		}
		if tok != token.COMMENT {
			last = -2
			continue
		}
		line := file.Line(pos)
		isLine := strings.HasPrefix(literal, "//")
		if isLine && line == last+1 {
			groups[len(groups)-1] += bare(literal) + "\n"
		} else {
			groups = append(groups, bare(literal)+"\n")
		}
		last = -2
		if isLine {
			last = line
		}
	}
}

// bare returns the content of a comment, without the markers //, /* and */ and without asterisks at
// the beginning of lines.
func bare(literal string) string {
	if after, isLine := strings.CutPrefix(literal, "//"); isLine {
		return strings.TrimPrefix(after, " ")
	}
	lines := strings.Split(strings.TrimSuffix(strings.TrimPrefix(literal, "/*"), "*/"), "\n")
	for i, line := range lines {
		if starred := strings.TrimLeft(line, " \t"); starred == "*" || strings.HasPrefix(starred, "* ") || strings.HasPrefix(starred, "** ") {
			line = strings.TrimPrefix(strings.TrimLeft(starred, "*"), " ")
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

var (
	copyrightWord = regexp.MustCompile(`(?i)copyright|\(c\)|©`)
	// copyrightLine matches a copyright notice. Its groups are the copyright mark, the years and
	// the holder.
	copyrightLine = regexp.MustCompile(`(?i)^(?:portions )?(copyright\s*(?:\(c\)|©)?|\(c\)|©)[\s:]*((?:\d{4}|present|now|[-–+,\s])*)(?:by\s+)?(\pL.*?)[\s.,;]*(?:all rights reserved.*)?$`)
)

// addHolders adds the copyright lines in a comment to holders, by the normalized name of the
// holder. Of several lines with the same holder, it keeps the first one in lexical order, so that
// the result does not depend on the order of files.
func addHolders(holders map[string]string, group string) {
	for line := range strings.Lines(group) {
		line = strings.TrimSpace(line)
		holder := holderOf(line)
		if kept, ok := holders[holder]; holder != "" && (!ok || line < kept) {
			holders[holder] = line
		}
	}
}

// holderOf returns the normalized name of the holder in a copyright line, or "" if line is not a
// copyright line.
func holderOf(line string) string {
	if len(line) > 200 || !copyrightWord.MatchString(line) {
		return ""
	}
	parts := copyrightLine.FindStringSubmatch(line)
	if parts == nil {
		return ""
	}
	mark, years, holder := parts[1], parts[2], parts[3]
	// Prose has no year: "copyright notice and ...", "(c) otherwise, ...".
	if years == "" && (!strings.HasPrefix(mark, "Copyright") || !unicode.IsUpper([]rune(holder)[0])) {
		return ""
	}
	return normalize(holder)
}
