package token

import "errors"

// ErrInvalid is matched by every error of [Verifier.Verify], as reported by [errors.Is]. [Reason]
// returns the reason for logs and metrics.
var ErrInvalid = errors.New("token: invalid")

// refusal is the reason why a token is invalid, one of the constants below. It never contains
// parts of the token, so it is safe to log.
type refusal string

const (
	tooLarge      refusal = "too large"
	malformed     refusal = "malformed"
	unknownKey    refusal = "unknown key" // or an expired key, or the wrong algorithm or purpose
	badSignature  refusal = "bad signature"
	badClaims     refusal = "bad claims"
	wrongIssuer   refusal = "wrong issuer"
	wrongAudience refusal = "wrong audience"
	expired       refusal = "expired"
	notYetValid   refusal = "not yet valid"
	tooLongLived  refusal = "lives too long"
)

func (r refusal) Error() string        { return "token: invalid: " + string(r) }
func (r refusal) Is(target error) bool { return target == ErrInvalid }

// Reason returns why [Verifier.Verify] rejected a token: one of ten constant strings, such as
// "expired", "bad signature" or "unknown key", suitable for logs and as a metric label. It
// returns "" for an error that is not from Verify.
func Reason(err error) string {
	r, _ := errors.AsType[refusal](err)
	return string(r)
}
