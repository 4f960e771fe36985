package middleware_test

import (
	"context"
	"crypto/sha256"
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
	broken := func(context.Context, *chassi.Call) (*chassi.Principal, error) { return nil, calltest.ErrBroken }
	if err := th.Run(t.Context(), middleware.Authentication(broken)); !errors.Is(err, calltest.ErrBroken) || th.Body.Decoded > 0 {
		t.Errorf("%v", err)
	}
}
