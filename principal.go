package chassi

import (
	"context"
	"slices"
	"time"
)

// Principal is the authenticated originator of a call. It must be treated as immutable.
type Principal struct {
	Subject     string   // stable ID, unique within its Scheme
	Name        string   // display name: an e-mail address, the name of a key
	Scheme      string   // authentication scheme: "bearer", "api_key"
	Tenant      string   // the organization for which it acts; "" if the program has no tenants
	Permissions []string // as checked by [Requires]

	// ExpiresAt is the time at which the credentials expire; the zero time means never. The
	// streams of the principal end at that time at the latest.
	ExpiresAt time.Time
}

// Has reports whether the principal has all of the permissions. A nil Principal has no permissions.
func (p *Principal) Has(permissions ...string) bool {
	for _, permission := range permissions {
		if p == nil || !slices.Contains(p.Permissions, permission) {
			return false
		}
	}
	return true
}

// Errors for calls that an endpoint's policy does not allow.
var (
	errUnauthenticated  = NewError(Unauthenticated, "unauthenticated", "This call needs credentials")
	errPermissionDenied = NewError(PermissionDenied, "permission_denied", "You may not make this call")
)

// guarded returns a handler that checks the endpoint's policy before it calls the endpoint.
// The policy is part of the endpoint and not a middleware, so that it cannot be omitted.
func (e *Endpoint) guarded() Handler {
	if e.public {
		return e.serve
	}
	return func(ctx context.Context, call *Call) error {
		switch {
		case call.Principal == nil:
			return errUnauthenticated
		case !call.Principal.Has(e.permissions...):
			return errPermissionDenied
		default:
			return e.serve(ctx, call)
		}
	}
}

// PrincipalFrom returns the principal of the call that ctx carries, or nil if the call
// is anonymous or ctx carries no call.
func PrincipalFrom(ctx context.Context) *Principal {
	if call := CallFrom(ctx); call != nil {
		return call.Principal
	}
	return nil
}
