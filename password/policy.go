package password

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Reason says why a password is refused. It is stable text for machines and
// an error, so errors.Is finds it in what [Policy.Check] returns.
type Reason string

// All reasons.
const (
	TooShort        Reason = "too_short"        // fewer code points than the policy asks for
	TooLong         Reason = "too_long"         // more bytes than the policy takes
	InvalidText     Reason = "invalid_text"     // not UTF-8, or holds a NUL
	Common          Reason = "common"           // widely used, or derived from what is
	ContainsContext Reason = "contains_context" // holds the user's own address or name
)

func (r Reason) Error() string { return string(r) }

// PolicyError lists all the reasons why a password is refused, at least one.
// It never holds the password.
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
	minContext       = 4 // code points; a shorter word is in too many passwords by chance
)

// Policy decides which new passwords are taken (NIST SP 800-63B section
// 5.1.1.2, OWASP ASVS 6.2): by length and by what is easily guessed, never by
// which kinds of character there are. It is for passwords being set; one being
// checked against a stored hash needs no policy. The zero value is ready.
type Policy struct {
	MinLength int       `config:"min_length" default:"8" min:"8" max:"128" help:"code points of a new password; ASVS advises 15 without a second factor"`
	MaxBytes  int       `config:"max_bytes" default:"1024" min:"64" max:"1024" help:"bytes of a new password in UTF-8"`
	Blocklist Blocklist `config:"-"` // refused besides the built-in words
}

// Check returns nil for a password that is good enough, else a [*PolicyError].
// Each context is something an attacker knows of the user, such as the e-mail
// address: words of at least four code points in it, an address' local part
// among them, must not be in the password.
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

// contextWords returns the whole, the local part and every word of one
// context, in the form that Check compares in.
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
