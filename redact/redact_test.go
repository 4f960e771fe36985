package redact_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chassi-go/chassi/redact"
)

func TestURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                 "",
		"embedded":                         "embedded",
		"off":                              "off",
		"sqlite:authd.db":                  "sqlite:authd.db",
		"sqlite:/var/lib/a%20b.db":         "sqlite:/var/lib/a%20b.db",
		"nats://127.0.0.1:4222":            "nats://127.0.0.1:4222",
		"nats://a:1,nats://b:2":            "nats://a:1,nats://b:2",
		"postgres://authd@db/authd":        "postgres://authd@db/authd",
		"postgres://db/x?sslkey=/a&a=b":    "postgres://db/x?sslkey=/a&a=b",
		"postgres://u:canary@h/db":         "postgres://u:***@h/db",
		"postgres://u:@h/db":               "postgres://u:***@h/db",
		"postgres://u:can@ary@h/db":        "postgres://u:***@h/db",
		"postgres://u:can@1/ary@h/db":      "***",
		"postgres://u:12/canary@h/db":      "***",
		"postgres://u:12?canary@h/db":      "***",
		"postgres://u:12#canary@h/db":      "***",
		"postgres:u:canary@h/db":           "***",
		"host=h password=canary":           "***",
		"password=canary":                  "***",
		"postgres://u:canary@h:port/db":    "***",
		"postgres://h/db?password=canary":  "postgres://h/db?password=***",
		"postgres://h/db?a=1;pwd=canary":   "postgres://h/db?***",
		"postgres://h/db?b=2&Token=canary": "postgres://h/db?Token=***&b=2",
		"redis://:canary@h:1/0":            "redis://:***@h:1/0",
		"redis://h/0#canary":               "redis://h/0#***",
		"nats://canary@h":                  "nats://***@h",
		"nats://u:canary@a,nats://canary@b:2,nats://u:canary@": "nats://u:***@a,nats://***@b:2,nats://u:***@",
	} {
		if got := redact.URL(text); got != want {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"dial tcp 127.0.0.1:5432: connection refused":         "dial tcp 127.0.0.1:5432: connection refused",
		"parse \"redis://u:canary@h:port\": invalid port":     "parse \"redis://***@h:port\": invalid port",
		"connect to postgres://u:can@ary/x@h/db: refused":     "connect to postgres://***@h/db: refused",
		"host=h user=u password=canary dbname=d: no response": "host=h user=u password=*** dbname=d: no response",
		`got "Authorization: Bearer canary"`:                  `got "Authorization: *** ***"`,
		"eyJhbGciOi.canary.canary is expired":                 "*** is expired",
		strings.Repeat("x", 30):                               strings.Repeat("x", 30),
		"\xff":                                                "\uFFFD",
	} {
		if got := redact.Text(text, 100); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
	if got := redact.Text(strings.Repeat("x", 200), 100); len(got) != 103 {
		t.Errorf("%d bytes", len(got))
	}
}

// Wherever the text is cut, no part of a secret is shown.
func TestTextCutsBehindTheMask(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"dial amqp://user:" + strings.Repeat("canary", 20) + "@host/vhost: no response",
		"dial amqp://" + strings.Repeat("canary", 2000) + "@host/vhost: no response",
		"password=" + strings.Repeat("canary", 20) + " no response", "Bearer " + strings.Repeat("canary", 2000),
		strings.Repeat("ä", 60) + " redis://:canary@host",
	} {
		for limit := range 150 {
			got := redact.Text(text, limit)
			if strings.Contains(got, "cana") || len(got) > limit+3 || !utf8.ValidString(got) {
				t.Errorf("%.40q... cut at %d is shown as %q", text, limit, got)
			}
		}
	}
}

// FuzzURL puts a password where one stands, as it is and percent-encoded. Whatever is
// in it, it is not shown.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{"hunter22", "p@ssword", "12/34567", "12?34567", "12#34567", "a:b:c:d:e", "1,2,3,4,5", "%41%42%43", "a b c d e"} {
		f.Add("postgres", seed)
		f.Add("nats", seed)
		f.Add("A:?=", seed)
	}
	f.Fuzz(func(t *testing.T, scheme, password string) {
		if len(password) < 8 || !utf8.ValidString(password) || strings.Contains(password, "://") || strings.Contains(password, "***") {
			return // too short to tell, or no password
		}
		for _, p := range []string{password, url.QueryEscape(password), url.PathEscape(password)} {
			for _, format := range []string{"%s://user:%s@host:1/db", "%s://:%s@host", "%s://host/db?password=%s"} {
				text := fmt.Sprintf(format, scheme, p)
				if strings.Contains(strings.Replace(text, p, "", 1), p) {
					continue // a part of the rest as well
				}
				if format[len(format)-1] == 's' && strings.ContainsAny(p, "&#@+") {
					continue // it ends there
				}
				if got := redact.URL(text); strings.Contains(got, p) {
					t.Errorf("%s is shown as %s", text, got)
				}
			}
		}
	})
}
