package main

import (
	"fmt"
	"regexp"
	"strings"
)

// step is one command of a page.
type step struct {
	page    string
	line    int // the line number of the command, counted from 1
	command string
	output  []string // the documented output, in lines
}

// String returns the page and the line of the step in the format that editors recognize: page:line.
func (s step) String() string { return fmt.Sprintf("%s:%d", s.page, s.line) }

var noTest = regexp.MustCompile(`^<!-- no-test: \S.* -->$`)

// parse returns the commands of a page in order, without the commands in fences that a no-test line
// excludes. It returns an error for a fence that is not closed, or the error of session.
func parse(page, text string) ([]step, error) {
	var steps []step
	lines := strings.Split(text, "\n")
	above := "" // the last line with something in it
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		marker, language := fence(line)
		if marker == "" {
			if line != "" {
				above = line
			}
			continue
		}
		end := closing(lines, i, marker)
		if end < 0 {
			return nil, fmt.Errorf("%s:%d: the fence is not closed", page, i+1)
		}
		if !noTest.MatchString(above) {
			indent := lines[i][:len(lines[i])-len(strings.TrimLeft(lines[i], " "))] // in a list
			found, err := session(page, language, unindent(lines[i+1:end], indent), i+2)
			if err != nil {
				return nil, err
			}
			steps = append(steps, found...)
		}
		i, above = end, ""
	}
	return steps, nil
}

// fence returns the backquotes with which a line opens a fence and the language of the fence, or ""
// if the line opens no fence.
func fence(line string) (marker, language string) {
	language = strings.TrimLeft(line, "`")
	if marker = line[:len(line)-len(language)]; len(marker) < 3 {
		return "", ""
	}
	return marker, strings.TrimSpace(language)
}

// closing returns the index of the line that closes the fence opened at i, or -1 if the fence is
// not closed.
func closing(lines []string, i int, marker string) int {
	for j := i + 1; j < len(lines); j++ {
		if strings.TrimSpace(lines[j]) == marker {
			return j
		}
	}
	return -1
}

func unindent(lines []string, indent string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = strings.TrimPrefix(line, indent)
	}
	return out
}

// session returns the commands of one console fence. It returns an error if the fence does not
// begin with a command, an error for a fence of sh, bash or shell, and no commands for a fence of
// any other language. first is the line number of lines[0] in the page.
func session(page, language string, lines []string, first int) ([]step, error) {
	switch language {
	case "console":
	case "sh", "bash", "shell":
		return nil, fmt.Errorf("%s:%d: a fence of %s is not tested: use console, or put <!-- no-test: reason --> above the fence", page, first-1, language)
	default:
		return nil, nil
	}
	var steps []step
	continues := false // the line belongs to the command above it
	for i, line := range lines {
		line = strings.TrimRight(line, " \r")
		command, isCommand := strings.CutPrefix(line, "$ ")
		if isCommand {
			steps = append(steps, step{page: page, line: first + i, command: command})
			continues = true
			continue
		}
		if len(steps) == 0 {
			return nil, fmt.Errorf("%s:%d: a console fence must begin with a command: \"$ ...\"", page, first+i)
		}
		last := &steps[len(steps)-1]
		rest, quoted := strings.CutPrefix(line, "> ")
		if continues && (quoted || strings.HasSuffix(last.command, `\`)) {
			last.command += "\n" + rest
			continue
		}
		continues = false
		last.output = append(last.output, line)
	}
	return steps, nil
}
