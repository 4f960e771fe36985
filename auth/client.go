package auth

import (
	"context"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// Client is the service somewhere else: over the client of any transport, or in
// the same process. Methods for known callers need their token beside the call;
// package middleware has SendBearer for that.
type Client struct{ *client.Client }

var _ Service = (*Client)(nil)

// NewClient makes a client of caller; each call passes through middleware.
func NewClient(caller client.Caller, middleware ...chassi.Middleware) (*Client, error) {
	c, err := client.New(Endpoints((*Client)(nil)), caller, middleware...)
	return &Client{c}, err
}

// Principal returns the caller whose token it is, as the service says: what
// middleware.Bearer needs so that another service takes the tokens of this one. The
// principal's subject is the e-mail address. It returns [ErrInvalidToken] for a token
// that is not good, ctx's error when that has ended, and [ErrUnavailable] with a
// time for the retry when the service cannot be asked, whatever the reason: it
// is no fault of the caller, and none of whoever asks.
func (c *Client) Principal(ctx context.Context, token string) (*chassi.Principal, error) {
	valid, err := c.ValidateToken(ctx, &ValidateTokenRequest{Token: token})
	switch e := chassi.ErrorOf(err); {
	case e == nil:
		return &chassi.Principal{Subject: valid.Email, Name: valid.Email, Scheme: "bearer"}, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case e.Code == chassi.Unauthenticated, e.Code == chassi.InvalidArgument:
		return nil, ErrInvalidToken.WithCause(err)
	default:
		return nil, ErrUnavailable.WithCause(err).WithRetryAfter(max(e.RetryAfter, time.Second))
	}
}

// SignUp calls [Service.SignUp].
func (c *Client) SignUp(ctx context.Context, r *SignUpRequest) (*SignUpResponse, error) {
	return client.Invoke[SignUpResponse](ctx, c.Client, "SignUp", r)
}

// Authenticate calls [Service.Authenticate].
func (c *Client) Authenticate(ctx context.Context, r *AuthenticateRequest) (*AuthenticateResponse, error) {
	return client.Invoke[AuthenticateResponse](ctx, c.Client, "Authenticate", r)
}

// ValidateToken calls [Service.ValidateToken].
func (c *Client) ValidateToken(ctx context.Context, r *ValidateTokenRequest) (*ValidateTokenResponse, error) {
	return client.Invoke[ValidateTokenResponse](ctx, c.Client, "ValidateToken", r)
}

// Me calls [Service.Me].
func (c *Client) Me(ctx context.Context, r *MeRequest) (*MeResponse, error) {
	return client.Invoke[MeResponse](ctx, c.Client, "Me", r)
}

// ChangePassword calls [Service.ChangePassword].
func (c *Client) ChangePassword(ctx context.Context, r *ChangePasswordRequest) (*ChangePasswordResponse, error) {
	return client.Invoke[ChangePasswordResponse](ctx, c.Client, "ChangePassword", r)
}

// JWKS calls [Service.JWKS].
func (c *Client) JWKS(ctx context.Context, r *JWKSRequest) (*JWKSResponse, error) {
	return client.Invoke[JWKSResponse](ctx, c.Client, "JWKS", r)
}
