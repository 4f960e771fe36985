package password

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Reason identifies why a password is rejected. It is a stable identifier, and also an error that
// [errors.Is] finds in the result of [Policy.Check].
type Reason string

// The reasons why a password is rejected.
const (
	TooShort        Reason = "too_short"        // fewer code points than the policy requires
	TooLong         Reason = "too_long"         // more bytes than the policy accepts
	InvalidText     Reason = "invalid_text"     // not UTF-8, or contains a NUL
	Common          Reason = "common"           // widely used, or derived from a common word
	ContainsContext Reason = "contains_context" // contains the user's own address or name
)

func (r Reason) Error() string { return string(r) }

// PolicyError is the error for a rejected password. It contains at least one reason, and
// never the password.
type PolicyError struct {
	Reasons []Reason
}

func refuse(reasons ...Reason) error { return &PolicyError{Reasons: reasons} }

func (e *PolicyError) Error() string {
	names := make([]string, len(e.Reasons))
	for i, r := range e.Reasons {
		names[i] = string(r)
	}
	return "password: refused: " + strings.Join(names, ", ")
}

// Unwrap returns the reasons as errors.
func (e *PolicyError) Unwrap() []error {
	errs := make([]error, len(e.Reasons))
	for i, r := range e.Reasons {
		errs[i] = r
	}
	return errs
}

const (
	defaultMinLength = 8
	minContext       = 4 // code points; shorter words occur in too many passwords by chance
)

// Policy decides which new passwords are accepted (NIST SP 800-63B section 5.1.1.2, OWASP ASVS
// 6.2). It checks length and predictability, and has no composition rules. Use it when a password
// is set, not when a password is verified. The zero value is ready to use.
type Policy struct {
	MinLength int       `config:"min_length" default:"8" min:"8" max:"128" help:"minimum length of a new password in code points; OWASP ASVS recommends 15 without a second factor"`
	MaxBytes  int       `config:"max_bytes" default:"1024" min:"64" max:"1024" help:"maximum length of a new password in bytes of UTF-8"`
	Blocklist Blocklist `config:"-"` // passwords to refuse in addition to the built-in words
}

// Check returns nil if the password is acceptable, and otherwise a [*PolicyError]. Each context
// is text that an attacker may know about the user, such as the e-mail address. The password must
// not contain a context, the part of a context before an @, or a word of a context, if that text
// has at least four code points. The case of letters is ignored.
func (p Policy) Check(password string, context ...string) error {
	password, err := Normalize(password)
	if err != nil {
		return err
	}
	folded := strings.ToLower(password)
	var reasons []Reason
	if utf8.RuneCountInString(password) < orDefault(p.MinLength, defaultMinLength) {
		reasons = append(reasons, TooShort)
	}
	if len(password) > orDefault(p.MaxBytes, MaxBytes) {
		reasons = append(reasons, TooLong)
	}
	if p.Blocklist.has(folded) || isCommon(folded) {
		reasons = append(reasons, Common)
	}
	if containsContext(folded, context) {
		reasons = append(reasons, ContainsContext)
	}
	if len(reasons) == 0 {
		return nil
	}
	return refuse(reasons...)
}

func orDefault(value, fallback int) int {
	if value <= 0 {
		return fallback
	}
	return value
}

func containsContext(folded string, context []string) bool {
	for _, c := range context {
		for _, word := range contextWords(c) {
			if utf8.RuneCountInString(word) >= minContext && strings.Contains(folded, word) {
				return true
			}
		}
	}
	return false
}

// contextWords returns the words of a context, the whole context, and its part before an @,
// normalized and in lower case. It returns nil if the context cannot be normalized.
func contextWords(context string) []string {
	normal, err := Normalize(context)
	if err != nil {
		return nil
	}
	normal = strings.ToLower(normal)
	local, _, _ := strings.Cut(normal, "@")
	words := strings.FieldsFunc(normal, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return append(words, normal, local)
}
