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

// Scheme describes credentials.
type Scheme struct {
	Name      string // in documents: "bearer", "api_key", "mutual_tls"
	Header    string // the header with the credentials: "Authorization", "X-API-Key"
	Prefix    string // in an Authorization header: "Bearer", "Basic"; empty for other headers
	Format    string // of a bearer token, shown in documents: "JWT"
	Doc       string
	MutualTLS bool // the credentials are the certificate of the TLS connection
}

// Authentication returns middleware that sets the principal of each call of a non-public
// endpoint to the first one that an authenticator returns. Authenticators for the same header
// and prefix, such as those of several token issuers, are tried in order. If all authenticators
// refuse the credentials, the call fails with the first error, or with the first one that is not
// [chassi.Unauthenticated]. A call without credentials continues, and is refused by the
// endpoint's policy. The body has not been read at that point.
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

// sharesPlace reports whether credentials of both schemes are sent in the same header.
func (s Scheme) sharesPlace(o Scheme) bool {
	return s.MutualTLS == o.MutualTLS && strings.EqualFold(s.Header, o.Header) && strings.EqualFold(s.Prefix, o.Prefix)
}

// Bearer returns an authenticator for the token in the metadata "Authorization: Bearer TOKEN"
// (RFC 6750, section 2.1). Verify returns the principal of the token, or an error if the token
// is invalid.
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

// APIKey is an API key of a program. Only its digest is stored.
type APIKey struct {
	Name        string   // for logs; the principal's subject
	Digest      [32]byte // SHA-256 of the key, which must have 128 random bits or more
	Permissions []string
}

var errInvalidAPIKey = chassi.NewError(chassi.Unauthenticated, "invalid_api_key", "Invalid API key")

// ClientCertificate returns an authenticator for the client's TLS certificate, over HTTP and
// gRPC. The server has verified the certificate against its client CAs. Identify returns the
// principal, for example from a subject alternative name, nil if the certificate identifies no
// principal, or an error if the client may not call.
func ClientCertificate(identify func(ctx context.Context, certificate *x509.Certificate) (*chassi.Principal, error)) Authenticator {
	authenticate := func(ctx context.Context, call *chassi.Call) (*chassi.Principal, error) {
		if call.PeerCertificate == nil {
			return nil, nil //nolint:nilnil // as Authenticate says
		}
		return identify(ctx, call.PeerCertificate)
	}
	return Authenticator{Scheme: Scheme{Name: "mutual_tls", MutualTLS: true}, Authenticate: authenticate}
}

// APIKeys returns an authenticator that compares the metadata "X-API-Key" with every key in
// constant time.
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
