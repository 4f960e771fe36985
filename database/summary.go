package database

import (
	"cmp"
	"strings"
)

// summarize returns the operation and the table of a statement, such as "SELECT" and "users". The
// table is "" if the statement does not name it directly. summarize considers only words outside
// of literals, comments and parentheses, and only the first statement; it therefore skips
// subqueries.
func summarize(query string) (operation, table string) {
	word, rest := nextWord(query)
	operation = strings.ToUpper(word)
	if operation == "WITH" { // the statement comes after the subqueries
		for word != "" && tableAfter[operation] == "" {
			word, rest = nextWord(rest)
			operation = strings.ToUpper(word)
		}
	}
	before := tableAfter[operation]
	if before == "" {
		return cmp.Or(operation, "SQL"), ""
	}
	for !strings.EqualFold(word, before) {
		if word, rest = nextWord(rest); word == "" {
			return operation, ""
		}
	}
	if table = nextTable(rest); table != "" || operation != "SELECT" {
		return operation, table
	}
	for !strings.EqualFold(word, "JOIN") { // what follows a subquery
		if word, rest = nextWord(rest); word == "" {
			return operation, ""
		}
	}
	return operation, nextTable(rest)
}

// tableAfter contains, for each operation, the word before its table.
var tableAfter = map[string]string{"SELECT": "FROM", "DELETE": "FROM", "INSERT": "INTO", "REPLACE": "INTO", "MERGE": "INTO", "UPDATE": "UPDATE"}

// nextTable returns the table name at the beginning of rest, or "" if rest begins with something
// else, such as a subquery.
func nextTable(rest string) string {
	word, after := nextWord(rest)
	if strings.TrimSpace(rest[:len(rest)-len(after)-len(word)]) != "" {
		return ""
	}
	return strings.ReplaceAll(word, `"`, "")
}

// nextWord returns the next word outside of literals, comments and parentheses, and the rest of the
// statement. The word is "" at the end of the statement.
func nextWord(s string) (word, rest string) {
	depth := 0
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\'':
			i = skipTo(s, i+1, "'")
			continue
		case strings.HasPrefix(s[i:], "--"):
			i = skipTo(s, i, "\n")
			continue
		case strings.HasPrefix(s[i:], "/*"):
			i = skipTo(s, i+2, "*/")
			continue
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ';' && depth == 0:
			return "", ""
		case isWord(c) || c == '"':
			end := wordEnd(s, i)
			if depth == 0 {
				return s[i:end], s[end:]
			}
			i = end
			continue
		}
		i++
	}
	return "", ""
}

// wordEnd returns the index at which the word that begins at i ends. A name in double quotes is a
// word or a part of a word.
func wordEnd(s string, i int) int {
	for i < len(s) && (isWord(s[i]) || s[i] == '"') {
		if s[i] == '"' {
			i = skipTo(s, i+1, `"`)
		} else {
			i++
		}
	}
	return i
}

func skipTo(s string, from int, end string) int {
	if n := strings.Index(s[from:], end); n >= 0 {
		return from + n + len(end)
	}
	return len(s)
}

// isWord reports whether c can be part of a keyword, a name or a placeholder. This includes the
// dot between schema and table.
func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '$' || c >= 0x80
}
