package telemetry

import (
	"log/slog"
	"strings"
)

// redacted stands for the value of a key that sounds like a secret. It is the
// net below the rule that nobody logs one.
const redacted = "***"

// isSecretKey reports whether one of these words is in key, whatever the case:
// "Set-Cookie", "api_key", "refreshToken".
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

// The words by their first letter: most keys are ruled out by theirs.
var (
	pWords = []string{"password", "passwd", "passphrase", "private_key", "privatekey", "pwd"}
	sWords = []string{"secret"}
	tWords = []string{"token"}
	aWords = []string{"authorization", "api_key", "apikey", "api-key"}
	cWords = []string{"cookie", "credential"}
	dWords = []string{"dsn"}
)

// canHoldSecret leaves numbers alone: tokens_issued is no secret.
func canHoldSecret(v slog.Value) bool {
	return v.Kind() == slog.KindString || v.Kind() == slog.KindAny
}
