package telemetry

import (
	"log/slog"
	"strings"
)

// redacted replaces the value of an attribute whose key looks like a secret. It is a safeguard:
// secrets must not be logged in the first place.
const redacted = "***"

// isSecretKey reports whether key contains one of the words below, ignoring case, as in
// "Set-Cookie", "api_key" and "refreshToken".
func isSecretKey(key string) bool {
	for i := 0; i+3 <= len(key); i++ {
		var words []string
		switch key[i] | 0x20 {
		case 'p':
			words = pWords
		case 's':
			words = sWords
		case 't':
			words = tWords
		case 'a':
			words = aWords
		case 'c':
			words = cWords
		case 'd':
			words = dWords
		default:
			continue
		}
		for _, word := range words {
			if len(key)-i >= len(word) && strings.EqualFold(key[i:i+len(word)], word) {
				return true
			}
		}
	}
	return false
}

// The words that mark a secret key, grouped by their first letter, so that [isSecretKey] skips most
// characters of a key quickly.
var (
	pWords = []string{"password", "passwd", "passphrase", "private_key", "privatekey", "pwd"}
	sWords = []string{"secret"}
	tWords = []string{"token"}
	aWords = []string{"authorization", "api_key", "apikey", "api-key"}
	cWords = []string{"cookie", "credential"}
	dWords = []string{"dsn"}
)

// canHoldSecret reports whether a value of the kind of v may be a secret. A number, such as
// the value of tokens_issued, is not a secret.
func canHoldSecret(v slog.Value) bool {
	return v.Kind() == slog.KindString || v.Kind() == slog.KindAny
}
