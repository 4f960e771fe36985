package chassi

import (
	"context"
	"slices"
)

// Principal is who makes a call, as an authentication middleware found out. It
// is immutable.
type Principal struct {
	Subject     string   // stable id, unique for its Scheme
	Name        string   // for people: an e-mail address, the name of a key
	Scheme      string   // how it was proved: "bearer", "api_key"
	Permissions []string // what [Requires] is held against
}

// Has reports whether the principal holds every one of permissions. A nil
// Principal holds none.
func (p *Principal) Has(permissions ...string) bool {
	for _, permission := range permissions {
		if p == nil || !slices.Contains(p.Permissions, permission) {
			return false
		}
	}
	return true
}

// What a caller is told whom an endpoint's policy does not let in.
var (
	errUnauthenticated  = NewError(Unauthenticated, "unauthenticated", "This call needs credentials")
	errPermissionDenied = NewError(PermissionDenied, "permission_denied", "You may not make this call")
)

// guarded returns the endpoint behind its policy. It is part of the endpoint
// and no middleware, so that nobody can forget it.
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

// PrincipalFrom returns who makes the call that ctx belongs to, nil for nobody.
func PrincipalFrom(ctx context.Context) *Principal {
	if call := CallFrom(ctx); call != nil {
		return call.Principal
	}
	return nil
}
