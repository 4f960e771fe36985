package auth

import "github.com/chassi-go/chassi"

// Errors that the service returns to clients. A client of any transport returns errors that match
// them with [errors.Is].
var (
	ErrInvalidUser    = chassi.NewError(chassi.NotFound, "invalid_user", "Invalid user")
	ErrInvalidToken   = chassi.NewError(chassi.Unauthenticated, "invalid_token", "Invalid token")
	ErrInvalidEmail   = chassi.NewError(chassi.InvalidArgument, "invalid_email", "Invalid e-mail address")
	ErrWeakPassword   = chassi.NewError(chassi.InvalidArgument, "weak_password", "This password cannot be used")
	ErrWrongPassword  = chassi.NewError(chassi.PermissionDenied, "wrong_password", "Wrong password")
	ErrSignUpDisabled = chassi.NewError(chassi.PermissionDenied, "sign_up_disabled", "Sign-up is disabled")
	ErrBusy           = chassi.NewError(chassi.Unavailable, "busy", "The service is busy")
	ErrUnavailable    = chassi.NewError(chassi.Unavailable, "unavailable", "The service is unavailable")
)

// Errors of a SignUp call with an Idempotency-Key, from a server that supports this header.
var (
	ErrInvalidKey     = chassi.NewError(chassi.InvalidArgument, "invalid_idempotency_key", "The idempotency key is malformed")
	ErrKeyConflict    = chassi.NewError(chassi.Aborted, "idempotency_conflict", "A call with this idempotency key is in progress")
	ErrKeyReused      = chassi.NewError(chassi.FailedPrecondition, "idempotency_key_reused", "This idempotency key was used for another request")
	ErrKeyUnavailable = chassi.NewError(chassi.Unavailable, "idempotency_unavailable", "Idempotency keys cannot be checked at the moment")
)
