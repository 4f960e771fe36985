package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/transport/localapi"
)

// validator answers ValidateToken, and nothing else.
type validator struct {
	auth.Service

	validate func(ctx context.Context, token string) (string, error)
}

func (v *validator) ValidateToken(ctx context.Context, r *auth.ValidateTokenRequest) (*auth.ValidateTokenResponse, error) {
	email, err := v.validate(ctx, r.Token)
	return &auth.ValidateTokenResponse{Email: email}, err
}

func principal(ctx context.Context, t *testing.T, validate func(ctx context.Context, token string) (string, error)) (*chassi.Principal, error) {
	t.Helper()
	return principalOf(ctx, t, "a-token", validate)
}

func principalOf(ctx context.Context, t *testing.T, token string, validate func(ctx context.Context, token string) (string, error)) (*chassi.Principal, error) {
	t.Helper()
	server := localapi.New()
	if err := server.Mount(auth.Endpoints(&validator{validate: validate})); err != nil {
		t.Fatal(err)
	}
	c, err := auth.NewClient(server)
	if err != nil {
		t.Fatal(err)
	}
	return c.Principal(ctx, token)
}

func TestPrincipalIsTheSubjectOfTheToken(t *testing.T) {
	t.Parallel()
	p, err := principal(t.Context(), t, func(_ context.Context, token string) (string, error) { return token + "@example.org", nil })
	if err != nil || p.Subject != "a-token@example.org" || p.Name != p.Subject || p.Scheme != "bearer" {
		t.Errorf("%+v, %v", p, err)
	}
}

// The principal of a stream expires with its token, so that the stream does.
func TestPrincipalExpiresWithTheToken(t *testing.T) {
	t.Parallel()
	of := func(payload string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
	}
	for token, want := range map[string]time.Time{
		of(`{"sub":"x","exp":1900000000,"email":"ü"}`): time.Unix(1_900_000_000, 0),
		of(`{"sub":"x"}`):     {},
		of(`{"exp":"soon"}`):  {},
		of(`[]`):              {},
		"e30.not base64.c2ln": {},
		"opaque":              {},
	} {
		p, err := principalOf(t.Context(), t, token, func(context.Context, string) (string, error) { return "ada@example.org", nil })
		if err != nil || !p.ExpiresAt.Equal(want) {
			t.Errorf("%s: %+v, %v, want %v", token, p, err, want)
		}
	}
}

// A failure between two services is not reported to the client as an internal error.
func TestPrincipalDistinguishesInvalidTokensFromFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err, want error
		after     time.Duration
	}{
		"bad token":     {auth.ErrInvalidToken, auth.ErrInvalidToken, 0},
		"bad request":   {chassi.NewError(chassi.InvalidArgument, "invalid_request", ""), auth.ErrInvalidToken, 0},
		"away":          {chassi.NewError(chassi.Unavailable, "unreachable", ""), auth.ErrUnavailable, time.Second},
		"breaker open":  {chassi.NewError(chassi.Unavailable, "circuit_open", "").WithRetryAfter(4 * time.Second), auth.ErrUnavailable, 4 * time.Second},
		"hangs":         {context.DeadlineExceeded, auth.ErrUnavailable, time.Second},
		"fault":         {errors.New("broken"), auth.ErrUnavailable, time.Second},
		"other service": {chassi.NewError(chassi.Unimplemented, "unimplemented", ""), auth.ErrUnavailable, time.Second},
		"too many":      {chassi.NewError(chassi.ResourceExhausted, "rate_limited", ""), auth.ErrUnavailable, time.Second},
	} {
		_, err := principal(t.Context(), t, func(context.Context, string) (string, error) { return "", c.err })
		if !errors.Is(err, c.want) || chassi.ErrorOf(err).RetryAfter != c.after {
			t.Errorf("%s: %v, retry after %v", name, err, chassi.ErrorOf(err).RetryAfter)
		}
	}
}

func TestPrincipalEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := principal(ctx, t, func(ctx context.Context, _ string) (string, error) {
		<-ctx.Done()
		return "", auth.ErrUnavailable
	})
	if chassi.ErrorOf(err).Code != chassi.DeadlineExceeded {
		t.Error(err)
	}
}
