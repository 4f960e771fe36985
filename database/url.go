package database

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// target is a parsed database URL.
type target struct {
	dialect Dialect
	path    string // SQLite: the file; empty means in memory
	memory  string // SQLite in memory: its name within the process
	access  access // SQLite file: the access mode
	dsn     string // PostgreSQL: the URL as given
	name    string // PostgreSQL: the name of the database, for traces
}

const allowedURLs = "want sqlite:PATH, sqlite::memory:, postgres://… or postgresql://…"

const malformedURL = "database.url is malformed: write postgres://USER:PASSWORD@HOST:PORT/NAME with special characters percent-encoded"

// parseURL parses a database URL. Its errors begin with the name of the setting, database.url. They
// contain no part of the URL except the scheme, because the rest may contain a password, whose
// position in a malformed URL is unknown.
func parseURL(raw string) (target, error) {
	if raw == "" {
		return target{}, errors.New("database.url is not set: " + allowedURLs)
	}
	scheme, rest, found := strings.Cut(raw, ":")
	if !found {
		return target{}, errors.New("database.url has no scheme: " + allowedURLs)
	}
	switch scheme {
	case "sqlite":
		path, err := sqlitePath(rest)
		return target{dialect: SQLite, path: path}, err
	case "postgres", "postgresql":
		return target{dialect: Postgres, dsn: raw}, checkPostgresURL(raw)
	}
	if !strings.HasPrefix(rest, "//") || !isScheme(scheme) {
		return target{}, errors.New("database.url has no known scheme: " + allowedURLs)
	}
	return target{}, fmt.Errorf("database.url has the unknown scheme %q: %s", scheme, allowedURLs)
}

// isScheme reports whether s has the form of a URL scheme, and may therefore be shown in an error: 1 to
// 16 lower-case letters, digits, "+", "-" or "." (RFC 3986, section 3.1).
func isScheme(s string) bool {
	return s != "" && len(s) <= 16 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// sqlitePath returns the path in rest, the part of a URL after "sqlite:", or "" for a database in
// memory. The path is taken literally, except that three slashes (an empty host) begin an absolute
// path, as in any URL.
func sqlitePath(rest string) (string, error) {
	if rest == ":memory:" {
		return "", nil
	}
	if strings.HasPrefix(rest, "///") {
		rest = rest[2:]
	}
	switch {
	case rest == "":
		return "", errors.New("database.url: the path is missing: write sqlite:PATH")
	case strings.HasPrefix(rest, "//"):
		return "", errors.New(`database.url: sqlite: the path must not begin with "//": write sqlite:PATH or sqlite:/ABSOLUTE/PATH`)
	case strings.ContainsAny(rest, "?#\x00"):
		return "", errors.New(`database.url: sqlite: the path must not contain "?", "#" or NUL: options are set by configuration`)
	}
	return rest, nil
}

func checkPostgresURL(raw string) error {
	u, err := url.Parse(raw)
	_, badHost := errors.AsType[url.InvalidHostError](err)
	switch { // the text of err would show the URL
	case badHost && !strings.Contains(raw, "@"):
		return errors.New("database.url is malformed: the host has a character that is not permitted")
	case badHost:
		return errors.New("database.url is malformed: the host has a character that is not permitted, or the user or password is not percent-encoded")
	case err != nil && strings.Contains(err.Error(), "invalid port"):
		return errors.New("database.url is malformed: the port is not a number, or a special character in the user or password is not percent-encoded")
	case err != nil:
		return errors.New(malformedURL)
	case u.Opaque != "" || !strings.Contains(raw, "://"):
		return errors.New("database.url: write postgres://USER:PASSWORD@HOST:PORT/NAME")
	case u.Fragment != "" || strings.Contains(u.Path, "@"): // which the driver would show as the name of the database
		return errors.New(malformedURL)
	}
	return nil
}

// String returns a description of the database without secrets: "postgres", "sqlite::memory:", or
// "sqlite:" and the path of the file.
func (t target) String() string {
	switch {
	case t.dialect == Postgres:
		return "postgres"
	case t.path == "":
		return "sqlite::memory:"
	}
	return "sqlite:" + t.path
}
