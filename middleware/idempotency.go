package middleware

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/idempotency"
)

// The pairs that callers and services tell each other of keys by.
const (
	idempotencyKey      = "Idempotency-Key"
	idempotencyReplayed = "Idempotency-Replayed"
)

var (
	errIdempotencyKey         = chassi.NewError(chassi.InvalidArgument, "invalid_idempotency_key", "The idempotency key is malformed")
	errIdempotencyConflict    = chassi.NewError(chassi.Aborted, "idempotency_conflict", "A call with this idempotency key is being carried out").WithRetryAfter(time.Second)
	errIdempotencyReused      = chassi.NewError(chassi.FailedPrecondition, "idempotency_key_reused", "This idempotency key was used for another request")
	errIdempotencyUnavailable = chassi.NewError(chassi.Unavailable, "idempotency_unavailable", "Idempotency keys cannot be looked up now").WithRetryAfter(time.Second)
	errIdempotencyNotKept     = chassi.NewError(chassi.FailedPrecondition, "idempotency_answer_not_kept", "The call with this idempotency key was carried out; its answer could not be kept")

	errReplayed   = errors.New("the result of an earlier call with this idempotency key")
	errUnfinished = chassi.NewError(chassi.Internal, "internal", "Internal error")
)

// IdempotencyOptions say how keys are treated. Secret is required.
type IdempotencyOptions struct {
	Keep    time.Duration      // how long a result is remembered; default 24 h
	Observe func(event string) // counts: "begun", "replayed", "conflict", "reused", "released", "unavailable", "not_stored"; may be nil

	// Secret returns at least 32 random bytes (crypto/rand), under which all that is stored
	// of keys and requests is digested: the same on each node and after a restart, or
	// repeated calls are not recognized. Keep it where a thief of the store does not get it,
	// too. It is called for each call with a key; after an error the call is
	// refused as idempotency_unavailable.
	Secret func(ctx context.Context) ([]byte, error)

	// Check refuses a request that the method would refuse anyway, before a digest of it is
	// made and the store is asked: what is refused costs nothing and touches no key. It
	// gets the decoded request, a pointer, and must not change it. Its error is the
	// answer, so it should be the method's. It may be nil.
	Check func(ctx context.Context, request any) error

	// Stretch makes digests of requests as dear as a password's hash, with a function like
	// Argon2 over the request's text and a salt of 16 bytes: for endpoints whose
	// requests hold passwords, or anything else that is easily guessed. Without it who has
	// both store and Secret guesses as fast as SHA-256 is computed. It must be
	// deterministic. A [chassi.Error] that it returns is the answer. It may be nil.
	Stretch func(ctx context.Context, salt, request []byte) ([]byte, error)
}

// minSecret is how long a secret must be, in bytes.
const minSecret = 32

const (
	// leaseRoom is how much longer than the call's deadline a lease is: time for a result
	// to be stored, and for a method that is slow to notice.
	leaseRoom = 10 * time.Second
	// storeTime bounds the storing of a result.
	storeTime = 5 * time.Second
	// abandonTime bounds the taking back of what may not even have begun.
	abandonTime = time.Second
	// longestCall is the deadline of a call that has none.
	longestCall = time.Minute
)

// Idempotency lets callers of the named endpoints of s say by a key that a call is one
// they made before, in the pair "Idempotency-Key"
// (draft-ietf-httpapi-idempotency-key-header): the first call with a key is carried out,
// and what became of it answers those that repeat it, with the pair
// "Idempotency-Replayed: true". A call without a key is none of its concern. Call it
// before s is mounted. It returns an error for a name that s does not have, for an
// endpoint that is [chassi.Idempotent] anyway, and without o.Secret.
//
// Answers are stored as they are, as JSON: name no endpoint whose answer is a secret, such
// as a token. Of a request only a digest is stored, under o.Secret and salted with the
// caller's key; o.Stretch makes it dear to guess at.
//
// # Whose key it is
//
// A key belongs to an endpoint and a principal, on whatever transport. At a public
// endpoint, where nobody is known, it belongs to whoever knows it and the whole request:
// the client's address does not count, because it changes just when calls are repeated.
// So keys are to be unguessable, such as random UUIDs. Who comes upon the key of
// another learns that it was used, and spoils it, if he is first; he gets no answer
// without the request.
//
// # What is refused
//
//   - invalid_idempotency_key, InvalidArgument: see [idempotency.ParseKey].
//   - idempotency_conflict, Aborted: the first call is not over. Try again.
//   - idempotency_key_reused, FailedPrecondition: the key was used with another request. The draft
//     wants status 422 over HTTP; no code has it, and this one is 400.
//   - idempotency_unavailable, Unavailable: the store is away, or the secret. A call that is to
//     be made at most once is not made unguarded.
//   - What o.Check refuses, with its error, even if the key was used with another request.
//
// # What is kept
//
// A success, and an error that is an answer: NotFound, AlreadyExists, FailedPrecondition. An
// error that leaves open what happened is kept, too, a panic included: Internal, Unknown,
// DataLoss, DeadlineExceeded, Canceled. The caller must look for himself, and try again with
// another key if he wants to: here at most once counts for more than an answer.
//
// Not kept are errors that say that nothing happened, which the method must not return once
// something has: InvalidArgument, OutOfRange, Unimplemented, Unauthenticated,
// PermissionDenied, ResourceExhausted, Aborted, Unavailable. After them the key is free.
//
// An answer longer than [idempotency.MaxOutcome] is sent once. Its repetition is
// told idempotency_answer_not_kept, FailedPrecondition, and not carried out. Pairs beside the
// answer are not repeated.
//
// # How far it can be relied upon
//
// A call with a key does not end when its caller goes away, only at its deadline (a minute,
// if it has none), so that there is a result to come back for. The key is taken for ten
// seconds more. If by then nothing was stored, because the process died, the store went away
// after the method had run, or the method ignored its deadline, the next call is carried
// out: a method whose effect must not double even then keeps the key with the effect.
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
	named := make(map[*chassi.Endpoint]bool)
	for _, name := range endpoints {
		e := s.Endpoint(name)
		if e == nil {
			return fmt.Errorf("middleware: idempotency keys for %s/%s: there is no such endpoint", s.Name(), name)
		}
		if e.Idempotent() {
			return fmt.Errorf("middleware: idempotency keys for %s: it may be repeated without them", e.FullName())
		}
		named[e] = true
	}
	s.Use(func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if !named[b.Endpoint] {
			return next
		}
		k := &keys{store: store, options: o, hidden: hiddenFields(b.Endpoint.RequestType())}
		return func(ctx context.Context, call *chassi.Call) error {
			if call.In.Get(idempotencyKey) == "" {
				return next(ctx, call)
			}
			return k.handle(ctx, call, next)
		}
	})
	return nil
}

// SendIdempotencyKey puts a key beside each outgoing call. Source is asked for every
// call, and must return the same for what is the same to the caller, however often it is
// tried; "" sends none.
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

// keys are those of one endpoint.
type keys struct {
	store   idempotency.Store
	options IdempotencyOptions
	hidden  [][]int
}

func (k *keys) handle(caller context.Context, call *chassi.Call, next chassi.Handler) error {
	deadline, ok := caller.Deadline()
	if !ok {
		deadline = time.Now().Add(longestCall)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(caller), deadline)
	defer cancel()
	g := &keyed{Codec: call.Codec, keys: k, call: call, caller: caller, ctx: ctx, lease: time.Until(deadline) + leaseRoom}
	call.Codec = g
	defer func() { call.Codec = g.Codec }()
	return g.run(next)
}

// keyed is one call with a key, as its codec: what is decoded tells which key it is, and
// what is encoded is to be kept.
type keyed struct {
	chassi.Codec
	*keys

	call     *chassi.Call
	caller   context.Context
	ctx      context.Context // does not end when the caller goes away
	lease    time.Duration
	attempt  idempotency.Attempt
	begun    bool
	replayed []byte // the outcome of an earlier call
	response any
}

func (g *keyed) run(next chassi.Handler) error {
	returned := false
	defer func() {
		if !returned {
			g.end(errUnfinished) // it panics
		}
	}()
	err := next(g.ctx, g.call)
	returned = true
	switch {
	case g.replayed != nil:
		return g.replay()
	case err == nil && g.response == nil:
		g.end(errUnfinished) // what the transport makes of it
	default:
		g.end(err)
	}
	return err
}

// Decode reads the request, and begins the call if it is the first one.
func (g *keyed) Decode(request any) error {
	key, err := idempotency.ParseKey(g.call.In.Get(idempotencyKey))
	if err != nil {
		return errIdempotencyKey.WithViolations(chassi.Violation{Field: idempotencyKey, Message: err.Error()})
	}
	if err := g.Codec.Decode(request); err != nil {
		return err
	}
	if err := g.call.Verify(request); err != nil {
		return err
	}
	if err := g.caller.Err(); err != nil {
		return err
	}
	if check := g.options.Check; check != nil {
		if err := check(g.caller, request); err != nil {
			return err
		}
	}
	if g.attempt, err = g.newAttempt(g.caller, g.call, key, request); err != nil { // nothing has begun: it may end with the caller
		return err
	}
	return g.begin()
}

// Encode remembers the response, and encodes it.
func (g *keyed) Encode(response any) error {
	g.response = response
	return g.Codec.Encode(response)
}

func (g *keyed) begin() error {
	state, outcome, err := g.store.Begin(g.ctx, g.attempt, g.lease)
	if err == nil && state == idempotency.Begun {
		err = g.ctx.Err() // beginning took all the time there was
	}
	switch {
	case err != nil:
		g.takeBack()
		g.options.Observe("unavailable")
		return errIdempotencyUnavailable.WithCause(err)
	case state == idempotency.Begun:
		g.begun = true
		g.options.Observe("begun")
		return nil
	case state == idempotency.Finished:
		g.replayed = outcome
		g.options.Observe("replayed")
		return errReplayed
	case state == idempotency.Reused:
		g.options.Observe("reused")
		return errIdempotencyReused
	default:
		g.options.Observe("conflict")
		return errIdempotencyConflict
	}
}

// takeBack forgets an attempt that may have begun though no answer came: the next one shall
// not wait for its lease to end.
func (g *keyed) takeBack() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.ctx), abandonTime)
	defer cancel()
	_ = g.store.Abandon(ctx, g.attempt) // it is away, most likely
}

// end stores what became of the call, or that nothing did.
func (g *keyed) end(result error) {
	if !g.begun {
		return
	}
	g.begun = false
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.ctx), storeTime)
	defer cancel()
	var err error
	if nothingHappened(result) {
		g.options.Observe("released")
		err = g.store.Abandon(ctx, g.attempt)
	} else {
		err = g.store.Finish(ctx, g.attempt, outcomeOf(g.response, result), g.options.Keep)
		if errors.Is(err, idempotency.ErrTooLarge) {
			err = g.store.Finish(ctx, g.attempt, outcomeOf(nil, errIdempotencyNotKept), g.options.Keep)
		}
	}
	if err != nil {
		g.options.Observe("not_stored")
	}
}

// nothingHappened holds for the errors after which a key is free.
func nothingHappened(err error) bool {
	if err == nil {
		return false
	}
	switch chassi.ErrorOf(err).Code {
	case chassi.InvalidArgument, chassi.OutOfRange, chassi.Unimplemented,
		chassi.Unauthenticated, chassi.PermissionDenied,
		chassi.ResourceExhausted, chassi.Aborted, chassi.Unavailable:
		return true
	default:
		return false
	}
}

// replay answers with what became of the first call.
func (g *keyed) replay() error {
	var o outcome
	if err := json.Unmarshal(g.replayed, &o); err != nil {
		return fmt.Errorf("middleware: a stored result of %s: %w", g.call.Endpoint.FullName(), err)
	}
	g.call.Out.Set(idempotencyReplayed, "true")
	if o.Error != nil {
		return o.Error.restore(g.call.Endpoint)
	}
	response := reflect.New(g.call.Endpoint.ResponseType()).Interface()
	if err := json.Unmarshal(o.Response, response); err != nil {
		return fmt.Errorf("middleware: a stored answer of %s: %w", g.call.Endpoint.FullName(), err)
	}
	g.call.Response = response
	return g.Codec.Encode(response)
}

// newAttempt digests all that a key belongs to, and all that it stands for.
func (k *keys) newAttempt(ctx context.Context, call *chassi.Call, key string, request any) (idempotency.Attempt, error) {
	content, err := k.canonical(request)
	if err != nil {
		return idempotency.Attempt{}, fmt.Errorf("middleware: digest a request of %s: %w", call.Endpoint.FullName(), err)
	}
	secret, err := k.secret(ctx)
	if err != nil {
		k.options.Observe("unavailable")
		return idempotency.Attempt{}, errIdempotencyUnavailable.WithCause(err)
	}
	var principal chassi.Principal
	if call.Principal != nil {
		principal = *call.Principal
	}
	whose := []string{call.Endpoint.FullName(), principal.Scheme, principal.Subject, key}
	if k.options.Stretch != nil {
		if content, err = k.options.Stretch(ctx, digest(secret, "salt", whose...)[:16], content); err != nil {
			return idempotency.Attempt{}, fmt.Errorf("middleware: digest a request of %s: %w", call.Endpoint.FullName(), err)
		}
	}
	return idempotency.NewAttempt(hex.EncodeToString(digest(secret, "key", whose...)), digest(secret, "request", append(whose, string(content))...)), nil
}

func (k *keys) secret(ctx context.Context) ([]byte, error) {
	secret, err := k.options.Secret(ctx)
	if err == nil && len(secret) < minSecret {
		err = fmt.Errorf("middleware: IdempotencyOptions.Secret returned %d bytes, must return %d at least", len(secret), minSecret)
	}
	return secret, err
}

// digest tells lists of parts apart, whatever is in the parts.
func digest(secret []byte, kind string, parts ...string) []byte {
	mac := hmac.New(sha256.New, secret)
	for _, part := range append([]string{kind}, parts...) {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// canonical renders a request so that equal ones are equal on every transport.
func (k *keys) canonical(request any) ([]byte, error) {
	fields := []any{request}
	v := reflect.ValueOf(request).Elem()
	for _, index := range k.hidden {
		field, err := v.FieldByIndexErr(index)
		if err != nil {
			continue // in an embedded struct that is not there
		}
		fields = append(fields, index, field.Interface())
	}
	return json.Marshal(fields) //nolint:wrapcheck // wrapped where it is used
}

// hiddenFields are those that a request's JSON leaves out, and that come from elsewhere.
func hiddenFields(request reflect.Type) (indices [][]int) {
	for _, f := range reflect.VisibleFields(request) {
		if f.IsExported() && f.Tag.Get("json") == "-" {
			indices = append(indices, f.Index)
		}
	}
	return indices
}
