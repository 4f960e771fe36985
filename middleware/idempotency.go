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

// Names of the metadata of calls with idempotency keys, and the description of the key in the
// schema documents.
const (
	idempotencyKey      = "Idempotency-Key"
	idempotencyReplayed = "Idempotency-Replayed"

	idempotencyDoc = "Chosen by the caller for one call, such as a random UUID. A retry with the same key and the same request gets the first response."
)

var (
	errIdempotencyKey         = chassi.NewError(chassi.InvalidArgument, "invalid_idempotency_key", "The idempotency key is malformed")
	errIdempotencyConflict    = chassi.NewError(chassi.Aborted, "idempotency_conflict", "A call with this idempotency key is in progress").WithRetryAfter(time.Second)
	errIdempotencyReused      = chassi.NewError(chassi.FailedPrecondition, "idempotency_key_reused", "This idempotency key was used for another request")
	errIdempotencyUnavailable = chassi.NewError(chassi.Unavailable, "idempotency_unavailable", "Idempotency keys cannot be checked at the moment").WithRetryAfter(time.Second)
	errIdempotencyNotKept     = chassi.NewError(chassi.FailedPrecondition, "idempotency_response_not_kept", "The call with this idempotency key was carried out; its response could not be kept")

	errReplayed   = errors.New("result of an earlier call with this idempotency key")
	errUnfinished = chassi.NewError(chassi.Internal, "internal", "Internal error")
)

// IdempotencyOptions configures [Idempotency]. Secret is required.
type IdempotencyOptions struct {
	// Keep is the time for which an outcome is stored. 0 means 24 hours.
	Keep time.Duration

	// Observe is called with each event, for metrics: "begun", "replayed", "conflict", "reused",
	// "released", "unavailable" or "not_stored". It may be nil.
	Observe func(event string)

	// Secret returns the secret from which the digests of idempotency keys and requests in the
	// store are computed: at least 32 random bytes (crypto/rand). The bytes must be the same on
	// each node and after a restart; otherwise, retries are not recognized. Do not keep them in the
	// same place as the store. Secret is called for each call with a key and an acceptable request.
	// If it fails or returns fewer bytes, the call is refused as idempotency_unavailable.
	Secret func(ctx context.Context) ([]byte, error)

	// Check returns the error that the method would return for an unacceptable request,
	// or nil. It is called before the request is digested and the store is used, so that
	// an unacceptable request is cheap and uses up no key. The argument request is a
	// pointer to the decoded request, which Check must not change. The error of Check is
	// returned to the client. Check may be nil.
	Check func(ctx context.Context, request any) error

	// Stretch derives a digest from the request and a salt of 16 bytes with a password hash
	// function such as Argon2, so that guessing a request is as expensive as guessing a password.
	// Set it for endpoints whose requests contain passwords or other values that are easily
	// guessed: without it, an attacker who has both the store and Secret can test guesses at the
	// speed of SHA-256. Stretch must be deterministic. A [chassi.Error] that it returns is
	// returned to the client. Stretch may be nil.
	Stretch func(ctx context.Context, salt, request []byte) ([]byte, error)
}

// minSecret is the minimum length of a secret, in bytes.
const minSecret = 32

const (
	// leaseMargin is the time from the call's deadline to the end of the lease. It is for storing
	// the outcome, and for a method that returns late.
	leaseMargin = 10 * time.Second
	// storeTime is the timeout for storing an outcome.
	storeTime = 5 * time.Second
	// abandonTime is the timeout for deleting an attempt that may not have begun.
	abandonTime = time.Second
	// longestCall is the timeout of a call without a deadline.
	longestCall = time.Minute
)

// Idempotency makes the named endpoints of s accept an idempotency key, in the metadata
// "Idempotency-Key" (draft-ietf-httpapi-idempotency-key-header). The first call with a key is
// carried out; a retry gets its outcome, with the metadata "Idempotency-Replayed: true". Calls
// without a key are not affected. Call Idempotency before s is mounted. It returns an error if
// o.Secret is nil, if s does not have an endpoint of one of the names, if an endpoint is declared
// [chassi.Idempotent], or if an endpoint has a request that cannot be digested or an outcome that
// cannot be stored: a stream, an http.Handler, an endpoint with files, or an endpoint whose
// response has a field that is not part of its JSON.
//
// Responses are stored as plain JSON: do not name an endpoint whose response is a secret, such as
// a token. Only a digest of the request is stored, keyed with o.Secret and salted with the
// client's key; o.Stretch makes the request expensive to guess.
//
// # Scope of a key
//
// A key belongs to an endpoint and a principal, over all transports. At a public endpoint,
// which has no principal, a key belongs to every client that knows both the key and the whole
// request. The client's address is not part of the scope, because it often changes when calls
// are retried. Keys must therefore be unguessable, such as random UUIDs. A client that knows
// the key of another client learns whether the key was used, and can use it first; it gets no
// response without sending the same request.
//
// # Errors
//
//   - invalid_idempotency_key, InvalidArgument: the key is malformed ([idempotency.ParseKey]).
//   - idempotency_conflict, Aborted: an earlier call still locks the key. Try again.
//   - idempotency_key_reused, FailedPrecondition: the key was used with another request. The
//     draft recommends status 422 over HTTP; no code maps to it, and FailedPrecondition is 400.
//   - idempotency_unavailable, Unavailable: the store or the secret is not available.
//     The method is not called.
//   - idempotency_response_not_kept, FailedPrecondition: the first call was carried out, but
//     its response could not be stored.
//   - The error of the validation or of o.Check, even if the key was used with another request.
//
// # What is stored
//
// Successes are stored, and so are the errors that are definite results: NotFound,
// AlreadyExists, FailedPrecondition. Errors after which it is unknown what happened are stored
// too, including the error of a panic: Internal, Unknown, DataLoss, DeadlineExceeded, Canceled.
// The client must find out what happened and may try again with another key: carrying out a call
// at most once is more important than a response.
//
// Errors that mean that nothing happened are not stored, and the key can be used again
// after them: InvalidArgument, OutOfRange, Unimplemented, Unauthenticated,
// PermissionDenied, ResourceExhausted, Aborted, Unavailable. The method must not
// return them after it has had an effect.
//
// A response longer than [idempotency.MaxOutcome] is sent once. A retry is not carried out and
// gets idempotency_response_not_kept. Metadata of the response is not sent again.
//
// # Guarantees
//
// A call with a key does not end when its client disconnects. It ends at its deadline, or
// after one minute if it has none, so that the client can ask for its outcome again. The key
// is locked for ten seconds longer. If no outcome was stored by then, because the process
// died, the store became unavailable after the method had run, or the method ignored its
// deadline, the next call is carried out. If an effect must not be repeated even then, the
// method must store the key together with the effect.
func Idempotency(s *chassi.Service, store idempotency.Store, o IdempotencyOptions, endpoints ...string) error {
	if o.Secret == nil {
		return fmt.Errorf("middleware: idempotency keys for %s: IdempotencyOptions.Secret is nil: want a function that returns at least %d random bytes, the same on each node", s.Name(), minSecret)
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

// newKeys returns the handler of keys for each of the named endpoints of s. It returns an error if
// an endpoint does not exist, is declared idempotent, or has a request that cannot be digested or
// an outcome that cannot be stored.
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

// keepable returns an error if a part of the endpoint's request or response would be lost because
// it is not in the JSON: files, or response fields that are only a header, a cookie or the status.
func keepable(e *chassi.Endpoint) error {
	switch request, response := e.Files(); {
	case request:
		return errors.New("requests with files cannot be digested")
	case response:
		return errors.New("responses with files cannot be stored")
	}
	response, err := gotype.Of(e.ResponseType())
	if err != nil {
		return err //nolint:wrapcheck // says which type
	}
	for i := range response.Fields {
		if f := &response.Fields[i]; f.JSON == "" && slices.Contains([]string{"header", "cookie", "status"}, f.Source) {
			return fmt.Errorf("the field %s of the response is not part of its JSON and would not be stored: give it a json tag", f.Name)
		}
	}
	return nil
}

// SendIdempotencyKey returns client middleware that sends an idempotency key with each outgoing
// call. It calls source for every call. The function source must return the same key for every
// attempt of the same operation, or "" to send no key.
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
