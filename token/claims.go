package token

import (
	"cmp"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

// Access is the purpose of a token that lets its bearer call the service, and
// the default.
const Access = "access"

const (
	maxPurpose = 32
	lastSecond = 253402300799 // 9999-12-31T23:59:59Z
)

// Claims is what a token says. Times have whole seconds.
type Claims struct {
	Issuer    string // iss
	Subject   string // sub
	Audience  string // aud
	ID        string // jti, random
	Purpose   string // the header's typ; empty means [Access]
	IssuedAt  time.Time
	NotBefore time.Time // zero means IssuedAt
	ExpiresAt time.Time
	Email     string // may be empty
	// Generation counts what ended all of the subject's tokens, a change of the
	// password for one. Whoever knows the current value refuses older ones; this
	// package does not.
	Generation int64
}

// payload is Claims on the wire. Unknown members are allowed (RFC 7519 section
// 4): a newer version of the issuer may have more to say.
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

// parsePayload reads claims of which none may be missing but the e-mail
// address. A null counts as missing. It does not compare them with anything.
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

// header returns the first part of every token that the key signs for a
// purpose. Verifiers compare it as text: to change it is to refuse all tokens
// that are about.
func (k *Key) header(purpose string) string { return Header(k.ID, k.Algorithm, purpose) }

// Header returns the first part of every token that the key with this ID signs for a
// purpose, up to the first dot: it tells whose tokens they are where the key itself is not
// at hand. The ID must be one that a [Key] may have. An empty purpose means [Access].
func Header(kid string, alg Algorithm, purpose string) string {
	return encode(fmt.Appendf(nil, `{"alg":"%s","kid":"%s","typ":"%s"}`, alg, kid, typ(cmp.Or(purpose, Access))))
}

func typ(purpose string) string {
	if purpose == Access {
		return "at+jwt"
	}
	return purpose + "+jwt"
}

// checkPurpose refuses what cannot stand in a header, and "at", which would
// pass for Access.
func checkPurpose(purpose string) error {
	if !isName(purpose, maxPurpose) || purpose == "at" {
		return fmt.Errorf("token: purpose must be 1 to %d of A-Z a-z 0-9 - _ and not %q", maxPurpose, "at")
	}
	return nil
}
