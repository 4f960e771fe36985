package config

import (
	"fmt"
	"log/slog"

	"github.com/chassi-go/chassi/redact"
)

// Secret is a string that is formatted, logged and marshaled as ***.
type Secret string

// Reveal returns the secret as a plain string.
func (s Secret) Reveal() string { return string(s) }

// String returns ***, or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redact.Mask
}

// Format implements [fmt.Formatter]. It writes the result of String for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue implements [slog.LogValuer]. It returns the result of String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements [encoding.TextMarshaler]. It returns the result of String, so that JSON
// and YAML contain ***.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It sets s to text.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}
