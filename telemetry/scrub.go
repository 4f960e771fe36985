package telemetry

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/getsentry/sentry-go"

	"github.com/chassi-go/chassi/redact"
)

// emails matches e-mail addresses, which are personal data and are not sent to the error tracker.
var emails = regexp.MustCompile(`[\w.+-]+@[\w-]+(?:\.[\w-]+)+`)

const maxText = 4 << 10

// scrub returns at most maxText bytes of an error's text, with possible secrets and
// e-mail addresses masked, for the error tracker. It is a safeguard: the author of
// an error must keep secrets out of it.
func scrub(text string) string {
	return emails.ReplaceAllString(redact.Text(text, maxText), "***@***")
}

const maxFrames = 100

// frames parses the output of runtime/debug.Stack. It returns the frames of the function
// that panicked and of its callers, at most maxFrames, with the innermost frame last.
// Arguments and directories of the build machine are omitted.
func frames(stack []byte) []sentry.Frame {
	var list []sentry.Frame
	function := ""
	panicked := false
	for line := range bytes.Lines(stack) {
		text := strings.TrimSuffix(string(line), "\n")
		place, indented := strings.CutPrefix(text, "\t")
		switch {
		case !indented:
			function = functionOf(text)
		case function == "panic" && !panicked:
			list, panicked = nil, true // what came after it is how it was contained
		case function != "" && len(list) < maxFrames:
			list = append(list, frameOf(function, place))
		}
	}
	slices.Reverse(list)
	return list
}

func functionOf(line string) string {
	if by, ok := strings.CutPrefix(line, "created by "); ok {
		name, _, _ := strings.Cut(by, " in goroutine")
		return name
	}
	if i := strings.LastIndexByte(line, '('); i > 0 {
		return line[:i]
	}
	return ""
}

func frameOf(function, place string) sentry.Frame {
	place, _, _ = strings.Cut(place, " +0x")
	file, line, _ := cutLast(place, ":")
	pkg, name := splitFunction(function)
	number, _ := strconv.Atoi(line)
	return sentry.Frame{
		Function: name, Module: pkg, Filename: pkg + "/" + path.Base(strings.ReplaceAll(file, `\`, "/")), Lineno: number,
		InApp: pkg == "main" || strings.Contains(pkg, "."),
	}
}

// splitFunction splits the full name of a function into its package path and its name in the
// package: "example.org/a/b.(*T).M" into "example.org/a/b" and "(*T).M".
func splitFunction(function string) (pkg, name string) {
	slash := strings.LastIndexByte(function, '/') + 1
	dot := strings.IndexByte(function[slash:], '.')
	if dot < 0 {
		return "", function
	}
	return function[:slash+dot], function[slash+dot+1:]
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
