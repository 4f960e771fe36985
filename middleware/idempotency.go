package middleware

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/schema/gotype"
)

// The metadata of calls with keys.
const (
	idempotencyKey      = "Idempotency-Key"
	idempotencyReplayed = "Idempotency-Replayed"

	idempotencyDoc = "Chosen by the caller for one call, such as a random UUID. A repetition with the same key and the same request gets the first response."
)

var (
	errIdempotencyKey         = chassi.NewError(chassi.InvalidArgument, "invalid_idempotency_key", "The idempotency key is malformed")
	errIdempotencyConflict    = chassi.NewError(chassi.Aborted, "idempotency_conflict", "A call with this idempotency key is being carried out").WithRetryAfter(time.Second)
	errIdempotencyReused      = chassi.NewError(chassi.FailedPrecondition, "idempotency_key_reused", "This idempotency key was used for another request")
	errIdempotencyUnavailable = chassi.NewError(chassi.Unavailable, "idempotency_unavailable", "Idempotency keys cannot be looked up now").WithRetryAfter(time.Second)
	errIdempotencyNotKept     = chassi.NewError(chassi.FailedPrecondition, "idempotency_response_not_kept", "The call with this idempotency key was carried out; its response could not be kept")

	errReplayed   = errors.New("result of an earlier call with this idempotency key")
	errUnfinished = chassi.NewError(chassi.Internal, "internal", "Internal error")
)

// IdempotencyOptions configure [Idempotency]. Secret is required.
type IdempotencyOptions struct {
	Keep    time.Duration      // how long a result is remembered; default 24 h
	Observe func(event string) // counts: "begun", "replayed", "conflict", "reused", "released", "unavailable", "not_stored"; may be nil

	// Secret returns at least 32 random bytes (crypto/rand), the key of the digests that the
	// store holds of keys and requests. It must be the same on each node and after a
	// restart, or repeated calls are not recognized. Do not keep it in the same place as
	// the store. It is called for each call with a key; if it fails, the call is refused as
	// idempotency_unavailable.
	Secret func(ctx context.Context) ([]byte, error)

	// Check returns the error that the method would return for an unacceptable request. It is
	// called before the request is digested and the store is used, so that such a request
	// is cheap and uses up no key. It gets a pointer to the decoded request and must not
	// change it. Its error is returned to the client. Check may be nil.
	Check func(ctx context.Context, request any) error

	// Stretch makes the digest of a request as expensive as the hash of a password, with a function
	// like Argon2 over the request and a salt of 16 bytes. Set it for endpoints whose requests
	// contain passwords or other values that are easily guessed: without it, an attacker with both
	// the store and Secret tests guesses at the speed of SHA-256. It must be deterministic. A
	// [chassi.Error] that it returns is returned to the client. Stretch may be nil.
	Stretch func(ctx context.Context, salt, request []byte) ([]byte, error)
}

// minSecret is the minimum length of a secret, in bytes.
const minSecret = 32

const (
	// leaseMargin is the time from the call's deadline to the end of the lease, for storing the
	// result and for a method that returns late.
	leaseMargin = 10 * time.Second
	// storeTime is the timeout of storing a result.
	storeTime = 5 * time.Second
	// abandonTime is the timeout of deleting an attempt that may not have begun.
	abandonTime = time.Second
	// longestCall is the timeout of a call without a deadline.
	longestCall = time.Minute
)

// Idempotency makes the named endpoints of s accept an idempotency key, in the metadata
// "Idempotency-Key" (draft-ietf-httpapi-idempotency-key-header). The first call with a key is
// carried out; a repetition gets its outcome, with the metadata "Idempotency-Replayed: true".
// Calls without a key are not affected. Call Idempotency before s is mounted. It returns an
// error without o.Secret, for a name that s does not have, and for an endpoint that is declared
// [chassi.Idempotent] or whose outcome cannot be stored: a stream, an http.Handler, an endpoint
// with files, or one with a response field that is not JSON.
//
// Responses are stored as plain JSON: do not name an endpoint whose response is a secret, such
// as a token. Of a request only a digest is stored, keyed with o.Secret and salted with the
// caller's key; o.Stretch makes it expensive to guess.
//
// # Scope of a key
//
// A key belongs to an endpoint and a principal, over all transports. At a public endpoint, which
// has no principal, it belongs to every client that knows it and the whole request. The client's
// address is not part of it, because it often changes when calls are repeated. Keys must
// therefore be unguessable, such as random UUIDs. A client that knows the key of another client
// learns whether the key was used, and can use it first; it gets no response without sending the
// same request.
//
// # Errors
//
//   - invalid_idempotency_key, InvalidArgument: see [idempotency.ParseKey].
//   - idempotency_conflict, Aborted: the first call is still running. Try again.
//   - idempotency_key_reused, FailedPrecondition: the key was used with another request. The
//     draft recommends status 422 over HTTP; no code maps to it, and FailedPrecondition is 400.
//   - idempotency_unavailable, Unavailable: the store or the secret is not available. The
//     method is not called.
//   - The error of o.Check, even if the key was used with another request.
//
// # What is stored
//
// Successes are stored, and errors that are responses: NotFound, AlreadyExists,
// FailedPrecondition. Errors after which it is unknown what happened are stored too, including
// the error of a panic: Internal, Unknown, DataLoss, DeadlineExceeded, Canceled. The caller must
// find out what happened and may try again with another key: carrying out a call at most once is
// more important than a response.
//
// Errors that say that nothing happened are not stored, and the key is free after them:
// InvalidArgument, OutOfRange, Unimplemented, Unauthenticated, PermissionDenied,
// ResourceExhausted, Aborted, Unavailable. The method must not return them after it has had
// an effect.
//
// A response longer than [idempotency.MaxOutcome] is sent once. A repetition is not carried
// out and gets idempotency_response_not_kept, FailedPrecondition. Metadata of the response is
// not repeated.
//
// # Guarantees
//
// A call with a key does not end when its caller goes away, but at its deadline (after a
// minute without one), so that its result can be asked for again. The key is locked for ten
// seconds longer. If nothing was stored by then, because the process died, the store became
// unavailable after the method had run, or the method ignored its deadline, the next call is
// carried out. A method whose effect must not be repeated even then stores the key together
// with the effect.
func Idempotency(s *chassi.Service, store idempotency.Store, o IdempotencyOptions, endpoints ...string) error {
	if o.Secret == nil {
		return fmt.Errorf("middleware: idempotency keys for %s: IdempotencyOptions.Secret is nil: want a function that returns %d random bytes, the same on each node", s.Name(), minSecret)
	}
	if o.Keep <= 0 {
		o.Keep = 24 * time.Hour
	}
	if o.Observe == nil {
		o.Observe = func(string) {}
	}
	named, err := newKeys(s, store, o, endpoints)
	if err != nil {
		return err
	}
	for _, name := range endpoints {
		s.Document(name, map[string]string{idempotencyKey: idempotencyDoc},
			errIdempotencyKey, errIdempotencyConflict, errIdempotencyReused, errIdempotencyUnavailable, errIdempotencyNotKept)
	}
	s.Use(func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		k := named[b.Endpoint]
		if k == nil {
			return next
		}
		return func(ctx context.Context, call *chassi.Call) error {
			if call.In.Get(idempotencyKey) == "" {
				return next(ctx, call)
			}
			return k.handle(ctx, call, next)
		}
	})
	return nil
}

// newKeys returns the handler of keys for each of the named endpoints of s. It returns an error
// for an endpoint that does not exist, needs no keys or cannot have any.
func newKeys(s *chassi.Service, store idempotency.Store, o IdempotencyOptions, names []string) (map[*chassi.Endpoint]*keys, error) {
	endpoints := make(map[*chassi.Endpoint]*keys)
	for _, name := range names {
		e := s.Endpoint(name)
		if e == nil {
			return nil, fmt.Errorf("middleware: idempotency keys for %s/%s: no such endpoint", s.Name(), name)
		}
		if e.Idempotent() {
			return nil, fmt.Errorf("middleware: idempotency keys for %s: the endpoint is declared idempotent and needs no keys", e.FullName())
		}
		if e.Streams() {
			return nil, fmt.Errorf("middleware: idempotency keys for %s: the endpoint is a stream, whose response cannot be stored", e.FullName())
		}
		if e.RequestType() == nil {
			return nil, fmt.Errorf("middleware: idempotency keys for %s: an http.Handler has no response that can be stored", e.FullName())
		}
		request, err := gotype.Of(e.RequestType())
		if err != nil {
			return nil, fmt.Errorf("middleware: idempotency keys for %s: %w", e.FullName(), err)
		}
		if err := keepable(e); err != nil {
			return nil, fmt.Errorf("middleware: idempotency keys for %s: %w", e.FullName(), err)
		}
		endpoints[e] = &keys{store: store, options: o, request: request}
	}
	return endpoints, nil
}

// keepable returns an error for an endpoint whose request or response has a part that is not in
// its JSON and would be lost: files, or response fields that are a header, a cookie or the
// status.
func keepable(e *chassi.Endpoint) error {
	if request, response := e.Files(); request || response {
		return errors.New("files are not stored")
	}
	response, err := gotype.Of(e.ResponseType())
	if err != nil {
		return err //nolint:wrapcheck // says which type
	}
	for i := range response.Fields {
		if f := &response.Fields[i]; f.JSON == "" && slices.Contains([]string{"header", "cookie", "status"}, f.Source) {
			return fmt.Errorf("the field %s of the response is not JSON, and so not stored: give it a json tag", f.Name)
		}
	}
	return nil
}

// SendIdempotencyKey returns middleware that sends a key with each outgoing call. It calls
// source for every call; source must return the same key each time the same operation is tried,
// and "" for no key.
func SendIdempotencyKey(source func(context.Context) string) chassi.Middleware {
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			if key := source(ctx); key != "" {
				call.In.Set(idempotencyKey, key)
			}
			return next(ctx, call)
		}
	}
}
