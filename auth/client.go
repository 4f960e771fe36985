package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// Client calls the service through the client of a transport, or in the same process. Methods that
// require authentication need middleware that sends a token, such as SendBearer in package
// middleware.
type Client struct{ *client.Client }

var _ Service = (*Client)(nil)

// NewClient returns a client that calls the service through caller and applies middleware to each
// call, the first one outermost. It returns an error if caller cannot call an endpoint or a
// middleware is invalid.
func NewClient(caller client.Caller, middleware ...chassi.Middleware) (*Client, error) {
	c, err := client.New(Endpoints((*Client)(nil)), caller, middleware...)
	return &Client{c}, err
}

// Principal returns the principal of a token, which it validates by calling ValidateToken. Another
// service passes the method Principal to middleware.Bearer to accept the tokens of this service.
// The subject of the principal is the e-mail address. The principal expires, and the streams that
// it opens end, at the time in the token's exp claim. Principal returns [ErrInvalidToken] for an
// invalid token, ctx.Err() if ctx is done, and [ErrUnavailable] with a retry delay if the call
// fails for any other reason.
func (c *Client) Principal(ctx context.Context, token string) (*chassi.Principal, error) {
	valid, err := c.ValidateToken(ctx, &ValidateTokenRequest{Token: token})
	switch e := chassi.ErrorOf(err); {
	case e == nil:
		return &chassi.Principal{Subject: valid.Email, Name: valid.Email, Scheme: "bearer", ExpiresAt: expiryOf(token)}, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case e.Code == chassi.Unauthenticated, e.Code == chassi.InvalidArgument:
		return nil, ErrInvalidToken.WithCause(err)
	default:
		return nil, ErrUnavailable.WithCause(err).WithRetryAfter(max(e.RetryAfter, time.Second))
	}
}

// expiryOf returns the exp claim (RFC 7519, section 4.1.4) of a token that the service has
// verified, or the zero time if the token has no exp claim that can be read.
func expiryOf(token string) time.Time {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		ExpiresAt int64 `json:"exp"`
	}
	if err := json.Unmarshal(text, &claims); err != nil || claims.ExpiresAt == 0 {
		return time.Time{}
	}
	return time.Unix(claims.ExpiresAt, 0)
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
