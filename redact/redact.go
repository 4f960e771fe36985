// Package redact masks secrets in text that is shown to people, such as the URLs of
// settings and the errors of drivers, which may contain such URLs. [URL] parses its
// argument. [Text] searches for patterns and is only a safety net: the code that writes
// a message must keep secrets out of it.
package redact

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Mask is the string that replaces a secret.
const Mask = "***"

// patterns contains the expressions that find the secrets in a text, and the
// replacements of their matches.
var patterns = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`://[^\s"'<>]*@`), "://***@"},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[\w.~+/=-]+`), "$1 ***"},
	{regexp.MustCompile(`\beyJ[\w-]+\.[\w-]+\.[\w-]*`), Mask},
	{regexp.MustCompile(`(?i)([\w-]*(?:password|passwd|pwd|secret|token|api[_-]?key|authorization|cookie|dsn)[\w-]*["']?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s,;&]+)`), "${1}***"},
}

// ahead is the number of bytes beyond the limit in which [Text] searches for the end of a secret.
const ahead = 4 << 10

// open matches the beginning of a URL at the end of a truncated text. The user and password of the
// URL may end in the part that was cut off.
var open = regexp.MustCompile(`://[^\s"'<>/@]*$`)

// Text returns at most limit bytes of text, in which anything that looks like a secret is masked:
// the user and password of a URL, HTTP credentials, a JWT, and the value after a word such as
// password or token. The result is valid UTF-8. If the masked text is longer than limit, it is
// truncated, and "..." is appended.
func Text(text string, limit int) string {
	cut := len(text) > limit+ahead
	if cut {
		text = text[:limit+ahead]
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if cut {
		text = open.ReplaceAllString(text, "://"+Mask)
	}
	for _, p := range patterns {
		text = p.find.ReplaceAllString(text, p.put)
	}
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit] + "..."
	}
	return text
}

// URL returns text, which is a URL or several URLs separated by commas, with passwords
// masked. It also masks a fragment, query parameters that may be secret, and a malformed
// URL. A user name without a password is a token in most schemes; it is masked unless
// text is a single PostgreSQL URL. A URL without a secret is returned unchanged.
func URL(text string) string {
	parts := strings.Split(text, ",")
	for i, part := range parts {
		if !strings.Contains(part, "://") {
			return oneURL(text, false)
		}
		parts[i] = oneURL(part, len(parts) > 1) // the comma may be one of a password
	}
	return strings.Join(parts, ",")
}

var hostPort = regexp.MustCompile(`^[A-Za-z0-9.-]{1,253}:[0-9]{1,5}$`)

// oneURL returns text, a single URL, with its secrets masked. If hideAll is true, it
// also masks a PostgreSQL user without a password.
func oneURL(text string, hideAll bool) string {
	if hostPort.MatchString(text) {
		return text // a URL without its scheme is a common mistake
	}
	u, err := url.Parse(text)
	if err != nil || strings.ContainsRune(afterUser(text, u), '@') || u.Scheme == "" && strings.ContainsAny(text, "= \t") {
		return Mask // any part may be in the password
	}
	hidden := hideUser(u, hideAll)
	hidden = hideQuery(u) || hidden
	if u.Fragment != "" {
		u.Fragment, u.RawFragment, hidden = Mask, "", true
	}
	if !hidden {
		return text
	}
	return strings.ReplaceAll(u.String(), "%2A%2A%2A", Mask)
}

// afterUser returns the part of text after the host if u, the parsed text, has a user,
// and otherwise all of text.
func afterUser(text string, u *url.URL) string {
	if u.User == nil {
		return text
	}
	_, after, _ := strings.Cut(text, "@"+u.Host)
	return after
}

func hideUser(u *url.URL, all bool) bool {
	if u.User == nil {
		return false
	}
	_, has := u.User.Password()
	switch {
	case has:
		u.User = url.UserPassword(u.User.Username(), Mask)
	case !all && (u.Scheme == "postgres" || u.Scheme == "postgresql"):
		return false
	default:
		u.User = url.User(Mask)
	}
	return true
}

func hideQuery(u *url.URL) bool {
	if u.RawQuery == "" {
		return false
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || strings.Contains(u.RawQuery, "?") { // a value may be a URL that has a query
		u.RawQuery = Mask
		return true
	}
	hidden := false
	for name := range query {
		if isSecretName(name) {
			query.Set(name, Mask)
			hidden = true
		}
	}
	if hidden {
		u.RawQuery = query.Encode()
	}
	return hidden
}

// isSecretName reports whether the parameter with that name may be a secret. The
// parameters sslkey and passfile name files and are not secret.
func isSecretName(name string) bool {
	name = strings.ToLower(name)
	if name == "sslkey" || name == "passfile" {
		return false
	}
	for _, word := range []string{"pass", "pwd", "secret", "token", "key", "credential", "auth", "sig"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
