package database

import (
	"strings"
	"testing"
	"time"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]target{
		"sqlite:authd.db":            {path: "authd.db"},
		"sqlite:./a/b.db":            {path: "./a/b.db"},
		"sqlite:/var/lib/a.db":       {path: "/var/lib/a.db"},
		"sqlite:///var/lib/a.db":     {path: "/var/lib/a.db"},
		"sqlite:odd name%20&.db":     {path: "odd name%20&.db"},
		"sqlite::memory:":            {},
		"postgres://u:p@h:5/db?a=b":  {dialect: Postgres, dsn: "postgres://u:p@h:5/db?a=b"},
		"postgresql:///db?host=/run": {dialect: Postgres, dsn: "postgresql:///db?host=/run"},
	} {
		if got, err := parseURL(raw); got != want || err != nil {
			t.Errorf("parseURL(%q) = %+v, %v", raw, got, err)
		}
	}
}

func TestOpenRefusesURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"authd.db":                                        "no scheme: want sqlite:PATH",
		"mysql://u:canary@h/db":                           `unknown scheme "mysql": want sqlite:PATH`,
		"canary:x":                                        "no known scheme: want sqlite:PATH",
		"sqlite:":                                         "the path is missing",
		"sqlite://":                                       `the path must not begin with "//"`,
		"sqlite://canary/x.db":                            `the path must not begin with "//"`,
		"sqlite:x.db?mode=canary":                         `must not contain "?"`,
		"postgres:canary":                                 "write postgres://USER",
		"postgres://u:canary%zz@h/db":                     "with special characters percent-encoded",
		"postgres://u:can ary@h:x/db":                     "malformed",
		"postgres://a b":                                  "the host has a character that is not permitted",
		"postgres://u:canary@a b/db":                      "the host has a character",
		"postgres://u:can/ary@h/db":                       "the port is not a number, or a special character in the user",
		"postgres://u:canary@h:99999/db":                  "a port must be a number from 1 to 65535",
		"postgres://u:canary@h/db?sslmode=maybe":          "sslmode must be one of disable",
		"postgres://u:canary@h/db?connect_timeout=canary": "connect_timeout must be a whole number",
		"postgres://u:canary@h/db?target_session_attrs=canary":           "target_session_attrs must be one of any",
		"postgres://u:canary@h/db?sslrootcert=/none&sslmode=verify-full": "check the files that are named in it",
	} {
		c := Config{URL: raw}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "database.url") || strings.Contains(err.Error(), "canary") {
			t.Errorf("Validate of %q: %v, want %q", raw, err, want)
		}
		_, err := Open(t.Context(), Config{URL: raw})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("Open(%q): %v, want %q", raw, err, want)
		}
	}
}

func TestOpenRefusesNegativeBounds(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{URL: "sqlite::memory:", MaxOpen: -1, QueryTimeout: -time.Second})
	if err == nil || !strings.Contains(err.Error(), "max_connections is -1") || !strings.Contains(err.Error(), "query_timeout is -1s") {
		t.Errorf("err = %v", err)
	}
}

// Whatever the URL: no panic, no password in the error, and a file only where the
// text says so.
func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{
		"sqlite:a.db", "sqlite::memory:", "sqlite:///a", "postgres://u:canary@h/db", "postgresql://canary%", "mysql://canary", ":", "",
		"postgres://u:canary@h:0x/db?sslmode=canary", "sqlite://?canary", "postgres://h/db?password=canary&port=x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		parsed, err := parseURL(raw)
		if err == nil && parsed.dialect == Postgres {
			_, err = postgresConfig(Config{}.withDefaults(), parsed)
		}
		scheme, secret, _ := strings.Cut(raw, ":")
		if err != nil && len(secret) > 20 && strings.Contains(err.Error(), secret) {
			t.Errorf("%q is in the error: %v", secret, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") && !strings.Contains(scheme, "canary") { // an unknown scheme is shown
			t.Errorf("%q: %v", raw, err)
		}
		if parsed.path != "" && !strings.HasSuffix(raw, parsed.path) {
			t.Errorf("%q became the file %q", raw, parsed.path)
		}
	})
}
