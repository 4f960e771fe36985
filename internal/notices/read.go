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

// text is a licence or a notice.
type text struct {
	file     string // relative to the component's folder, with slashes
	content  string
	kind     kind
	licences []string // SPDX identifiers, sorted
	// declarations is set for a comment of a source file that contains no function.
	declarations bool
}

type kind int

const (
	licenceFile kind = iota // must be recognised
	noticeFile              // NOTICE, PATENTS: kept, need not be a licence
	comment                 // of a linked source file, with a licence in it
)

var (
	licenceName = regexp.MustCompile(`(?i)^(un)?(licen[cs]es?|copying|copyright|legal|eula|third[-_. ]?party([-_. ]?(licen[cs]es?|notices?))?)([-_. ].*)?$`)
	noticeName  = regexp.MustCompile(`(?i)^(notices?|patents?)([-_. ].*)?$`)
	// codeName matches code: license.go is not a licence.
	codeName = regexp.MustCompile(`(?i)\.(go|s|c|h|cc|py|js|ts|sh|rb|proto|json|yaml|yml|toml|tmpl|prototext)$`)
)

// read finds the licences and notices of a component.
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

// readFiles reads the licence files of every folder from the component's own to
// those of its linked packages.
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
		if !isNotice && !licenceName.MatchString(name) || codeName.MatchString(name) || c.main && name == fileName {
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
	t := text{file: c.relative(path), content: tidy(string(content)), kind: licenceFile}
	t.licences = classify(t.content)
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

// tidy makes equal texts equal that differ in line ends and margins alone.
func tidy(s string) string {
	lines := strings.Split(strings.ReplaceAll(strings.TrimPrefix(s, "\ufeff"), "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " \t\f\r")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// readSources finds licences and copyright lines in the comments of linked files.
func (c *component) readSources() error {
	known := c.words()
	kept := make(map[string][]string) // a comment to its licences, if the files do not have them
	code := make(map[string]struct{}) // the comments of files that are more than declarations
	for path := range c.sources {
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		declarations := filepath.Ext(path) == ".go" && !hasFunction(source)
		for _, group := range comments(source) {
			licences, seen := kept[group]
			if !seen {
				licences = c.missing(group, known)
				kept[group] = licences
			}
			if len(licences) > 0 {
				c.texts = append(c.texts, text{
					file: c.relative(path), content: tidy(group), kind: comment, licences: licences, declarations: declarations,
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

// copyrights returns the copyright lines of the sources whose holder the component's
// texts do not name, sorted.
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

// words returns the words of the component's texts.
func (c *component) words() string {
	var b strings.Builder
	for _, t := range c.texts {
		b.WriteString(normalise(t.content) + " ")
	}
	return b.String()
}

// missing returns the licences of a comment if the component's files, whose words
// are known, do not have one of them. A dedication to the public domain asks for
// nothing.
func (c *component) missing(group, known string) []string {
	licences := classify(group)
	if !slices.ContainsFunc(licences, func(id string) bool { return !c.has(id, group, known) }) {
		return nil
	}
	return licences
}

// has says whether the component's files have the licence of a comment: the licence
// itself, where the comment only names it, or the comment's very words.
func (c *component) has(id, group, known string) bool {
	if id == publicDomain {
		return true
	}
	if id != "Apache-2.0" {
		return strings.Contains(known, normalise(group))
	}
	return slices.ContainsFunc(c.texts, func(t text) bool { return t.kind == licenceFile && slices.Contains(t.licences, id) })
}

// hasFunction says whether Go source has a function, and not declarations alone.
func hasFunction(source []byte) bool {
	return bytes.HasPrefix(source, []byte("func ")) || bytes.Contains(source, []byte("\nfunc ")) || bytes.Contains(source, []byte("= func("))
}

// mayMatter matches every comment that can have a licence or a copyright.
var mayMatter = regexp.MustCompile(`(?i)copyright|licen[cs]e|permission|redistribution|public domain`)

// comments returns those comments of a Go or assembly file that may matter. Line
// comments in adjacent lines are one comment.
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

// bare returns a comment without its marks.
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
	// copyrightLine matches a copyright notice: its mark, its years, its holder.
	copyrightLine = regexp.MustCompile(`(?i)^(?:portions )?(copyright\s*(?:\(c\)|©)?|\(c\)|©)[\s:]*((?:\d{4}|present|now|[-–+,\s])*)(?:by\s+)?(\pL.*?)[\s.,;]*(?:all rights reserved.*)?$`)
)

// addHolders adds the copyright lines of a comment by their holders. Of several lines
// that differ in their years it keeps the first by name, which stays the same when
// files change.
func addHolders(holders map[string]string, group string) {
	for line := range strings.Lines(group) {
		line = strings.TrimSpace(line)
		holder := holderOf(line)
		if kept, ok := holders[holder]; holder != "" && (!ok || line < kept) {
			holders[holder] = line
		}
	}
}

// holderOf returns the words of the holder in a copyright line, "" for other lines.
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
	return normalise(holder)
}
