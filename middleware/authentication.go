package middleware

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"strings"

	"github.com/chassi-go/chassi"
)

// Authenticator determines the principal of a call from its credentials.
type Authenticator struct {
	// Scheme describes the credentials in the schema documents.
	Scheme Scheme

	// Authenticate returns the principal of the call. It returns nil and nil if the call has no
	// credentials of this scheme, and an error if they are invalid.
	Authenticate func(ctx context.Context, call *chassi.Call) (*chassi.Principal, error)
}

// Scheme describes the credentials that an [Authenticator] accepts.
type Scheme struct {
	Name      string // in the schema documents: "bearer", "api_key", "mutual_tls"
	Header    string // the header with the credentials: "Authorization", "X-API-Key"
	Prefix    string // before the credentials in the header: "Bearer", "Basic"; may be empty
	Format    string // of a bearer token, in the schema documents: "JWT"
	Doc       string // description in the schema documents; may be empty
	MutualTLS bool   // the credentials are the certificate of the TLS connection
}

// Authentication returns middleware that sets the principal of each call of a non-public endpoint.
// It tries the authenticators in order and uses the first principal that one of them returns. After
// an authenticator has refused the credentials, the middleware tries only authenticators for the
// same header and prefix, such as those of several token issuers. If none of them returns a
// principal, the call fails with the first error whose code is not [chassi.Unauthenticated] or, if
// there is no such error, with the first error. A call without credentials continues, and the
// endpoint's policy refuses it. Authentication does not read the body of the call.
func Authentication(authenticators ...Authenticator) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if b.Endpoint.Public() {
			return next
		}
		return func(ctx context.Context, call *chassi.Call) (err error) {
			if call.Principal, err = authenticate(ctx, call, authenticators); err != nil {
				return err
			}
			return next(ctx, call)
		}
	}
}

func authenticate(ctx context.Context, call *chassi.Call, authenticators []Authenticator) (*chassi.Principal, error) {
	var refused error
	var scheme Scheme // of the credentials that were refused
	for _, a := range authenticators {
		if refused != nil && !a.Scheme.sharesPlace(scheme) {
			continue
		}
		switch principal, err := a.Authenticate(ctx, call); {
		case principal != nil && err == nil:
			return principal, nil
		case err != nil && (refused == nil || chassi.ErrorOf(refused).Code == chassi.Unauthenticated && chassi.ErrorOf(err).Code != chassi.Unauthenticated):
			refused, scheme = err, a.Scheme
		}
	}
	return nil, refused
}

// sharesPlace reports whether credentials of both schemes are sent in the same place: in the same
// header with the same prefix, or in the TLS handshake.
func (s Scheme) sharesPlace(o Scheme) bool {
	return s.MutualTLS == o.MutualTLS && strings.EqualFold(s.Header, o.Header) && strings.EqualFold(s.Prefix, o.Prefix)
}

// Bearer returns an authenticator for the token in the metadata "Authorization: Bearer
// TOKEN" (RFC 6750, section 2.1). It calls verify, which must return the principal of the
// token, or an error if the token is invalid.
func Bearer(verify func(ctx context.Context, token string) (*chassi.Principal, error)) Authenticator {
	const scheme = "Bearer "
	authenticate := func(ctx context.Context, call *chassi.Call) (*chassi.Principal, error) {
		value := call.In.Get("Authorization")
		if len(value) <= len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
			return nil, nil //nolint:nilnil // as Authenticate says
		}
		return verify(ctx, value[len(scheme):])
	}
	return Authenticator{Scheme: Scheme{Name: "bearer", Header: "Authorization", Prefix: "Bearer", Format: "JWT"}, Authenticate: authenticate}
}

// APIKey describes the API key of a client program. It contains only the digest of the key.
type APIKey struct {
	Name        string   // subject and name of the principal
	Digest      [32]byte // SHA-256 of the key, which must have 128 random bits or more
	Permissions []string // of the principal
}

var errInvalidAPIKey = chassi.NewError(chassi.Unauthenticated, "invalid_api_key", "Invalid API key")

// ClientCertificate returns an authenticator for the client's TLS certificate, over HTTP and
// gRPC. It calls identify with the certificate, which the server has verified against its client
// CAs. The function identify must return the principal, for example from a subject alternative
// name, nil if the certificate identifies no principal, or an error if the client must not call.
func ClientCertificate(identify func(ctx context.Context, certificate *x509.Certificate) (*chassi.Principal, error)) Authenticator {
	authenticate := func(ctx context.Context, call *chassi.Call) (*chassi.Principal, error) {
		if call.PeerCertificate == nil {
			return nil, nil //nolint:nilnil // as Authenticate says
		}
		return identify(ctx, call.PeerCertificate)
	}
	return Authenticator{Scheme: Scheme{Name: "mutual_tls", MutualTLS: true}, Authenticate: authenticate}
}

// APIKeys returns an authenticator for the API key in the metadata "X-API-Key". It compares the
// digest of that key with the digests of all keys in constant time, and refuses an unknown key with
// the code [chassi.Unauthenticated].
func APIKeys(keys ...APIKey) Authenticator {
	principals := make([]*chassi.Principal, len(keys))
	for i, k := range keys {
		principals[i] = &chassi.Principal{Subject: k.Name, Name: k.Name, Scheme: "api_key", Permissions: k.Permissions}
	}
	authenticate := func(_ context.Context, call *chassi.Call) (*chassi.Principal, error) {
		given := call.In.Get("X-Api-Key")
		if given == "" {
			return nil, nil //nolint:nilnil // as Authenticate says
		}
		digest, found := sha256.Sum256([]byte(given)), -1
		for i := range keys {
			found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(digest[:], keys[i].Digest[:]), i, found)
		}
		if found < 0 {
			return nil, errInvalidAPIKey
		}
		return principals[found], nil
	}
	return Authenticator{Scheme: Scheme{Name: "api_key", Header: "X-API-Key"}, Authenticate: authenticate}
}
