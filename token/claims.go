package token

import (
	"cmp"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

// Access is the purpose of a token that authenticates calls to the service. It is the
// default purpose.
const Access = "access"

const (
	maxPurpose = 32
	lastSecond = 253402300799 // 9999-12-31T23:59:59Z
)

// Claims contains the claims of a token. Times have a resolution of one second.
type Claims struct {
	Issuer    string // iss
	Subject   string // sub
	Audience  string // aud
	ID        string // jti, random
	Purpose   string // the purpose in the header's typ; empty means [Access]
	IssuedAt  time.Time
	NotBefore time.Time // zero means IssuedAt
	ExpiresAt time.Time
	Email     string // may be empty
	// Generation is incremented to revoke all earlier tokens of the subject, for
	// example when the password changes. This package does not check it: the caller
	// must reject tokens of older generations.
	Generation int64
}

// payload is the JSON form of Claims. Unknown members are ignored (RFC 7519 section 4), because a
// newer version of the issuer may add members.
type payload struct {
	Issuer     string `json:"iss"`
	Subject    string `json:"sub"`
	Audience   string `json:"aud"`
	ID         string `json:"jti"`
	IssuedAt   int64  `json:"iat"`
	NotBefore  int64  `json:"nbf"`
	ExpiresAt  int64  `json:"exp"`
	Generation *int64 `json:"gen"`
	Email      string `json:"email,omitzero"`
}

func (c Claims) payload() payload {
	return payload{
		Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, ID: c.ID, Email: c.Email, Generation: &c.Generation,
		IssuedAt: c.IssuedAt.Unix(), NotBefore: c.NotBefore.Unix(), ExpiresAt: c.ExpiresAt.Unix(),
	}
}

func (p payload) claims(purpose string) *Claims {
	return &Claims{
		Issuer: p.Issuer, Subject: p.Subject, Audience: p.Audience, ID: p.ID, Email: p.Email, Generation: *p.Generation, Purpose: purpose,
		IssuedAt: time.Unix(p.IssuedAt, 0).UTC(), NotBefore: time.Unix(p.NotBefore, 0).UTC(), ExpiresAt: time.Unix(p.ExpiresAt, 0).UTC(),
	}
}

// parsePayload decodes claims, and returns an error if they are malformed. All claims
// but the e-mail address must be present; null, "" and a time of 0 count as missing. The
// times must be in the years 1970 to 9999, exp must be after iat, and the generation must
// be at least 0. The other values are not checked.
func parsePayload(text []byte) (p payload, err error) {
	if err := json.Unmarshal(text, &p); err != nil {
		return payload{}, badClaims // the cause may quote the claims
	}
	if !p.complete() {
		return payload{}, badClaims
	}
	return p, nil
}

func (p payload) complete() bool {
	named := p.Issuer != "" && p.Subject != "" && p.Audience != "" && p.ID != ""
	timed := isSecond(p.IssuedAt) && isSecond(p.NotBefore) && isSecond(p.ExpiresAt)
	return named && timed && p.IssuedAt < p.ExpiresAt && p.Generation != nil && *p.Generation >= 0
}

func isSecond(s int64) bool { return s > 0 && s <= lastSecond }

// header returns the encoded header of every token that the key signs for a purpose. Verifiers
// compare the header as text: a change of its form would invalidate all issued tokens.
func (k *Key) header(purpose string) string { return Header(k.ID, k.Algorithm, purpose) }

// Header returns the encoded header of every token that the key with this ID signs for a purpose:
// the part of the token before the first dot. It identifies the tokens of a key that is not
// available. The ID must be valid for a [Key]. An empty purpose means [Access].
func Header(kid string, alg Algorithm, purpose string) string {
	return encode(fmt.Appendf(nil, `{"alg":"%s","kid":"%s","typ":"%s"}`, alg, kid, typ(cmp.Or(purpose, Access))))
}

func typ(purpose string) string {
	if purpose == Access {
		return "at+jwt"
	}
	return purpose + "+jwt"
}

// checkPurpose returns an error for a purpose that cannot be part of a header, and for
// "at", whose header would be that of Access.
func checkPurpose(purpose string) error {
	if !isName(purpose, maxPurpose) || purpose == "at" {
		return fmt.Errorf("token: purpose %q must have 1 to %d of the characters A-Z a-z 0-9 - _, and must not be %q", purpose, maxPurpose, "at")
	}
	return nil
}
