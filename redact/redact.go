// Package redact takes secrets out of text that is shown to people: URLs of settings,
// and errors of drivers, which may repeat such a URL. URL knows what it reads; Text is a
// safety net, because the author of a text is who has to keep secrets out of it.
package redact

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Mask stands where a secret was.
const Mask = "***"

// patterns are what Text looks for.
var patterns = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`://[^\s"'<>]*@`), "://***@"},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[\w.~+/=-]+`), "$1 ***"},
	{regexp.MustCompile(`\beyJ[\w-]+\.[\w-]+\.[\w-]*`), Mask},
	{regexp.MustCompile(`(?i)([\w-]*(?:password|passwd|pwd|secret|token|api[_-]?key|authorization|cookie|dsn)[\w-]*["']?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s,;&]+)`), "${1}***"},
}

// ahead is how far behind the limit Text looks for the end of what it masks, and open is
// a URL whose user and password may end still further on.
const ahead = 4 << 10

var open = regexp.MustCompile(`://[^\s"'<>/@]*$`)

// Text returns at most limit bytes of text without what looks like a secret: the user
// and password of a URL, credentials of HTTP, a JWT, the value behind a word such as
// password or token. The result is valid UTF-8, and ends in "..." where it was cut.
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

// URL returns the URL that is the value of a setting, or several of them with commas
// between, without password, and without what a query or a malformed URL may hide one
// in. A user name that stands alone is a token in most schemes, and hidden in all but
// those of PostgreSQL. A URL that holds no secret is returned as it is.
func URL(text string) string {
	parts := strings.Split(text, ",")
	for i, part := range parts {
		if !strings.Contains(part, "://") {
			return oneURL(text)
		}
		parts[i] = oneURL(part)
	}
	return strings.Join(parts, ",")
}

func oneURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || strings.ContainsRune(afterUser(text, u), '@') || u.Scheme == "" && strings.ContainsAny(text, "= \t") {
		return Mask // whatever is a part of the password, nobody can tell
	}
	hidden := hideUser(u)
	hidden = hideQuery(u) || hidden
	if u.Fragment != "" {
		u.Fragment, u.RawFragment, hidden = Mask, "", true
	}
	if !hidden {
		return text
	}
	return strings.ReplaceAll(u.String(), "%2A%2A%2A", Mask)
}

// afterUser returns what follows user and password.
func afterUser(text string, u *url.URL) string {
	if u.User == nil {
		return text
	}
	_, after, _ := strings.Cut(text, "@"+u.Host)
	return after
}

func hideUser(u *url.URL) bool {
	if u.User == nil {
		return false
	}
	_, has := u.User.Password()
	switch {
	case has:
		u.User = url.UserPassword(u.User.Username(), Mask)
	case u.Scheme == "postgres" || u.Scheme == "postgresql":
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
	if err != nil {
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

// isSecretName reports whether a parameter of that name may be a secret. Names of files
// are not.
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
