package telemetry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretKeys(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		"password": true, "Password": true, "new_password": true, "passwordHash": true, "pwd": true,
		"token": true, "refreshToken": true, "Authorization": true, "Proxy-Authorization": true,
		"client_secret": true, "secret": true, "dsn": true, "SENTRY_DSN": true, "cookie": true, "Set-Cookie": true,
		"x-api-key": true, "api_key": true, "APIKey": true, "private_key": true, "credentials": true,
		"status": false, "latency_us": false, "peer": false, "subject": false, "route": false, "kid": false, "": false,
		"to": false, "pass": false, "author": false, "reason": false, "api": false, "passed": false, "ds": false,
	} {
		if isSecretKey(key) != want {
			t.Errorf("isSecretKey(%q) = %v, want %v", key, !want, want)
		}
	}
}

// F49: a secret with a known key is masked in every part of a line.
func TestSecretsAreNotWritten(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry"
	for format, h := range map[string]func(*bytes.Buffer) slog.Handler{
		"json": func(b *bytes.Buffer) slog.Handler { return newJSONHandler(b, slog.LevelInfo) },
		"text": func(b *bytes.Buffer) slog.Handler { return newTextHandler(b, slog.LevelInfo, false) },
	} {
		var out bytes.Buffer
		logger := slog.New(h(&out))
		logger.Info("plain", "password", canary)
		logger.Info("any", "dsn", []string{canary})
		logger.With("Authorization", canary).Info("with")
		logger.WithGroup("cookies").Info("group of the logger", "session", canary)
		logger.Info("group", slog.Group("secrets", "a", canary, slog.Group("b", "c", canary)))
		logger.Info("inside", slog.Group("a", slog.Group("b", "token", canary)))
		logger.Info("valuer", "login", valuer{slog.GroupValue(slog.String("password", canary))})
		logger.Info("valuer itself", "token", valuer{slog.StringValue(canary)})
		logger.Info("a number is no secret", "tokens_issued", 7)
		if strings.Contains(out.String(), canary) {
			t.Errorf("%s: a secret is in the log:\n%s", format, out.String())
		}
		if n := strings.Count(out.String(), redacted); n < 8 || !strings.Contains(out.String(), "7") {
			t.Errorf("%s: %d values are hidden, want 8 or more, and the number is to stay:\n%s", format, n, out.String())
		}
	}
}
