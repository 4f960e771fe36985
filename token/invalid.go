package token

import "errors"

// ErrInvalid is what every error of [Verifier.Verify] is. A caller needs to
// know no more; [Reason] is for logs and metrics.
var ErrInvalid = errors.New("token: invalid")

// A refusal is why a token is invalid: one of the few below, so that nothing a
// stranger sent gets into a log by it.
type refusal string

const (
	tooLarge      refusal = "too large"
	malformed     refusal = "malformed"
	unknownKey    refusal = "unknown key" // or its algorithm or type is not the key's
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

// Reason returns why [Verifier.Verify] refused a token: one of ten fixed texts,
// such as "expired", "bad signature" or "unknown key", fit for a log and as the
// value of a metric's label. It is empty for any other error.
func Reason(err error) string {
	r, _ := errors.AsType[refusal](err)
	return string(r)
}
