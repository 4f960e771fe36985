package middleware_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware"
)

var errBadToken = chassi.NewError(chassi.Unauthenticated, "invalid_token", "Invalid token")

// authentication knows one token and two keys.
func authentication() chassi.Middleware {
	return middleware.Authentication(
		middleware.Bearer(func(_ context.Context, token string) (*chassi.Principal, error) {
			if token != "good" {
				return nil, errBadToken
			}
			return &chassi.Principal{Subject: "ada", Scheme: "bearer"}, nil
		}),
		middleware.APIKeys(
			middleware.APIKey{Name: "batch", Digest: sha256.Sum256([]byte("batch key")), Permissions: []string{"things:write"}},
			middleware.APIKey{Name: "cron", Digest: sha256.Sum256([]byte("cron key"))}),
	)
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		headers map[string]string
		subject string
		reason  string // of the refusal
	}{
		"nobody":            {nil, "", "unauthenticated"},
		"good token":        {map[string]string{"Authorization": "Bearer good"}, "ada", ""},
		"scheme in capital": {map[string]string{"Authorization": "BEARER good"}, "ada", ""},
		"bad token":         {map[string]string{"Authorization": "Bearer bad"}, "", "invalid_token"},
		"two spaces":        {map[string]string{"Authorization": "Bearer  good"}, "", "invalid_token"},
		"no token":          {map[string]string{"Authorization": "Bearer "}, "", "unauthenticated"},
		"another scheme":    {map[string]string{"Authorization": "Basic Z29vZA=="}, "", "unauthenticated"},
		"key":               {map[string]string{"X-Api-Key": "cron key"}, "cron", ""},
		"T44 last char":     {map[string]string{"X-Api-Key": "cron kez"}, "", "invalid_api_key"},
		"T44 prefix":        {map[string]string{"X-Api-Key": "cron"}, "", "invalid_api_key"},
		"T44 digest":        {map[string]string{"X-Api-Key": "\x00"}, "", "invalid_api_key"},
		"bad token, key":    {map[string]string{"Authorization": "Bearer bad", "X-Api-Key": "cron key"}, "", "invalid_token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			th := calltest.New(calltest.Fine, chassi.Authenticated)
			for key, value := range c.headers {
				th.Call.In.Set(key, value)
			}
			err := th.Run(t.Context(), authentication())
			switch {
			case c.reason == "":
				if err != nil || th.Call.Principal.Subject != c.subject {
					t.Errorf("%v, %+v", err, th.Call.Principal)
				}
			case chassi.ErrorOf(err).Reason != c.reason || chassi.ErrorOf(err).Code != chassi.Unauthenticated:
				t.Errorf("%v, want %s", err, c.reason)
			case th.Body.Decoded > 0:
				t.Error("the body of a refused call was read")
			}
		})
	}
}

// Several issuers of tokens can be combined, with any authenticators between them.
func TestAuthenticationOfSeveralIssuers(t *testing.T) {
	t.Parallel()
	issuer := func(name string, down error) middleware.Authenticator {
		return middleware.Bearer(func(_ context.Context, token string) (*chassi.Principal, error) {
			switch {
			case down != nil:
				return nil, down
			case token != name:
				return nil, errBadToken.WithCause(errors.New(name))
			}
			return &chassi.Principal{Subject: name}, nil
		})
	}
	away := chassi.NewError(chassi.Unavailable, "keys_unavailable", "The keys cannot be fetched")
	key := middleware.APIKeys(middleware.APIKey{Name: "cron", Digest: sha256.Sum256([]byte("cron key"))})
	for name, c := range map[string]struct {
		authenticators []middleware.Authenticator
		token, key     string
		subject        string
		reason         string
	}{
		"first":              {[]middleware.Authenticator{issuer("a", nil), issuer("b", nil)}, "a", "", "a", ""},
		"second":             {[]middleware.Authenticator{issuer("a", nil), issuer("b", nil)}, "b", "", "b", ""},
		"key between":        {[]middleware.Authenticator{issuer("a", nil), key, issuer("b", nil)}, "b", "", "b", ""},
		"neither":            {[]middleware.Authenticator{issuer("a", nil), issuer("b", nil)}, "c", "", "", "invalid_token"},
		"neither, with key":  {[]middleware.Authenticator{issuer("a", nil), key, issuer("b", nil)}, "c", "cron key", "", "invalid_token"},
		"first away":         {[]middleware.Authenticator{issuer("a", away), issuer("b", nil)}, "b", "", "b", ""},
		"first away, refuse": {[]middleware.Authenticator{issuer("a", away), issuer("b", nil)}, "a", "", "", "keys_unavailable"},
		"last away, refuse":  {[]middleware.Authenticator{issuer("a", nil), issuer("b", away)}, "b", "", "", "keys_unavailable"},
	} {
		th := calltest.New(calltest.Fine, chassi.Authenticated)
		th.Call.In.Set("Authorization", "Bearer "+c.token)
		if c.key != "" {
			th.Call.In.Set("X-Api-Key", c.key)
		}
		err := th.Run(t.Context(), middleware.Authentication(c.authenticators...))
		if (c.reason == "") != (err == nil) || err != nil && chassi.ErrorOf(err).Reason != c.reason {
			t.Errorf("%s: %v", name, err)
		}
		if c.subject != "" && (th.Call.Principal == nil || th.Call.Principal.Subject != c.subject) {
			t.Errorf("%s: %+v", name, th.Call.Principal)
		}
		if err != nil && th.Call.Principal != nil {
			t.Errorf("%s: a refused call has the principal %+v", name, th.Call.Principal)
		}
	}
}

func TestAuthenticationByCertificate(t *testing.T) {
	t.Parallel()
	authenticator := middleware.ClientCertificate(func(_ context.Context, c *x509.Certificate) (*chassi.Principal, error) {
		if c.Subject.CommonName != "billing" {
			return nil, errBadToken
		}
		return &chassi.Principal{Subject: c.Subject.CommonName, Scheme: "mutual_tls"}, nil
	})
	for name, reason := range map[string]string{"billing": "", "other": "invalid_token", "": "unauthenticated"} {
		th := calltest.New(calltest.Fine, chassi.Authenticated)
		if name != "" {
			th.Call.PeerCertificate = &x509.Certificate{Subject: pkix.Name{CommonName: name}}
		}
		err := th.Run(t.Context(), middleware.Authentication(authenticator))
		if (reason == "") != (err == nil) || err != nil && chassi.ErrorOf(err).Reason != reason {
			t.Errorf("%q: %v, want %q", name, err, reason)
		}
	}
}

// A certificate that is refused does not fall through to another scheme.
func TestRefusedCertificateIsFinal(t *testing.T) {
	t.Parallel()
	certificate := middleware.ClientCertificate(func(context.Context, *x509.Certificate) (*chassi.Principal, error) { return nil, errBadToken })
	session := middleware.Authenticator{Scheme: middleware.Scheme{Name: "session"}, Authenticate: func(context.Context, *chassi.Call) (*chassi.Principal, error) {
		return &chassi.Principal{Subject: "ada"}, nil
	}}
	th := calltest.New(calltest.Fine, chassi.Authenticated)
	th.Call.PeerCertificate = &x509.Certificate{}
	if err := th.Run(t.Context(), middleware.Authentication(certificate, session)); chassi.ErrorOf(err).Reason != "invalid_token" {
		t.Errorf("%v", err)
	}
}

func TestAuthenticationLeavesPublicEndpointsAlone(t *testing.T) {
	t.Parallel()
	th := calltest.New(calltest.Fine, chassi.Public)
	th.Call.In.Set("Authorization", "Bearer bad")
	if err := th.Run(t.Context(), authentication()); err != nil || th.Call.Principal != nil {
		t.Errorf("%v, %+v", err, th.Call.Principal)
	}
}

// T53: a principal without the permission is refused before its body is read.
func TestT53Permissions(t *testing.T) {
	t.Parallel()
	for key, allowed := range map[string]bool{"batch key": true, "cron key": false} {
		th := calltest.New(calltest.Fine, chassi.Requires("things:write"))
		th.Call.In.Set("X-Api-Key", key)
		err := th.Run(t.Context(), authentication())
		if (err == nil) != allowed || !allowed && (chassi.ErrorOf(err).Code != chassi.PermissionDenied || th.Body.Decoded > 0) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// What is wrong with the authenticator itself is no refusal.
func TestAuthenticationFailsClosed(t *testing.T) {
	t.Parallel()
	th := calltest.New(calltest.Fine)
	broken := middleware.Authenticator{Authenticate: func(context.Context, *chassi.Call) (*chassi.Principal, error) { return nil, calltest.ErrBroken }}
	if err := th.Run(t.Context(), middleware.Authentication(broken)); !errors.Is(err, calltest.ErrBroken) || th.Body.Decoded > 0 {
		t.Errorf("%v", err)
	}
}
