package middleware

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/schema/gotype"
)

// keys handles the calls of one endpoint that have an idempotency key.
type keys struct {
	store   idempotency.Store
	options IdempotencyOptions
	request *gotype.Type
}

// handle carries out or replays one call with a key and returns its error. The context of the
// method expires at the call's deadline, or after longestCall if there is none; it is not canceled
// when the client disconnects.
func (k *keys) handle(caller context.Context, call *chassi.Call, next chassi.Handler) error {
	deadline, ok := caller.Deadline()
	if !ok {
		deadline = time.Now().Add(longestCall)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(caller), deadline)
	defer cancel()
	c := &keyedCall{Codec: call.Codec, keys: k, call: call, caller: caller, ctx: ctx, lease: time.Until(deadline) + leaseMargin}
	call.Codec = c
	defer func() { call.Codec = c.Codec }()
	return c.run(next)
}

// keyedCall is one call with a key. It replaces the codec of the call, because the key can be
// looked up only after the request is decoded. Its steps are:
//
//	Decode  decodes and checks the request, then begins an attempt in the store;
//	        fails with errReplayed if an earlier call has an outcome
//	method  runs if Decode succeeds
//	Encode  records and encodes the response
//	run     stores the outcome, frees the key, or replays the earlier outcome
type keyedCall struct {
	chassi.Codec
	*keys

	call     *chassi.Call
	caller   context.Context //nolint:containedctx // of this call
	ctx      context.Context //nolint:containedctx // likewise; not canceled when the client disconnects
	lease    time.Duration
	attempt  idempotency.Attempt
	begun    bool   // the attempt must be ended
	replayed []byte // the outcome of an earlier call
	response any
}

// run calls next and returns its error. It ends the attempt, even if next panics. If an earlier
// call with the key has an outcome, run responds with that outcome.
func (c *keyedCall) run(next chassi.Handler) error {
	result := error(errUnfinished)
	defer func() { c.end(result) }()
	err := next(c.ctx, c.call)
	switch {
	case c.replayed != nil:
		return c.replay()
	case err != nil || c.response != nil:
		result = err
	} // else the method succeeded without a response, and the transport responds with an error
	return err
}

// Decode implements [chassi.Codec]. It decodes and checks the request and begins the attempt. It
// returns errReplayed if an earlier call with the key has an outcome.
func (c *keyedCall) Decode(request any) error {
	key, err := idempotency.ParseKey(c.call.In.Get(idempotencyKey))
	if err != nil {
		return errIdempotencyKey.WithViolations(chassi.Violation{Field: idempotencyKey, Message: err.Error()})
	}
	if err := c.Codec.Decode(request); err != nil {
		return err
	}
	if err := c.check(request); err != nil {
		return err
	}
	// Nothing has begun yet, so that the digest may end with the caller.
	if c.attempt, err = c.newAttempt(c.caller, c.call, key, request); err != nil {
		return err
	}
	return c.begin()
}

// check returns an error if the method would refuse the request or if the caller's
// context is done.
func (c *keyedCall) check(request any) error {
	if err := c.call.Verify(request); err != nil {
		return err
	}
	if err := c.caller.Err(); err != nil {
		return err
	}
	if c.options.Check == nil {
		return nil
	}
	return c.options.Check(c.caller, request)
}

// Encode implements [chassi.Codec]. It records the response for the store and encodes it.
func (c *keyedCall) Encode(response any) error {
	c.response = response
	return c.Codec.Encode(response)
}

// begin begins the attempt in the store. It returns nil if the method must be called, and
// otherwise the error with which Decode fails.
func (c *keyedCall) begin() error {
	state, outcome, err := c.store.Begin(c.ctx, c.attempt, c.lease)
	if err == nil && state == idempotency.Begun {
		err = c.ctx.Err() // no time is left for the method
	}
	switch {
	case err != nil:
		c.abandon()
		return c.observed("unavailable", errIdempotencyUnavailable.WithCause(err))
	case state == idempotency.Begun:
		c.begun = true
		return c.observed("begun", nil)
	case state == idempotency.Finished:
		c.replayed = outcome
		return c.observed("replayed", errReplayed)
	case state == idempotency.Reused:
		return c.observed("reused", errIdempotencyReused)
	default:
		return c.observed("conflict", errIdempotencyConflict)
	}
}

// observed passes event to the Observe option and returns err.
func (c *keyedCall) observed(event string, err error) error {
	c.options.Observe(event)
	return err
}

// abandon deletes an attempt that may or may not have begun, so that the next attempt
// need not wait until the lease ends.
func (c *keyedCall) abandon() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), abandonTime)
	defer cancel()
	_ = c.store.Abandon(ctx, c.attempt) // the store is most likely unavailable
}

// end stores the outcome of the attempt or frees its key, if the attempt has begun.
func (c *keyedCall) end(result error) {
	if !c.begun {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), storeTime)
	defer cancel()
	if err := c.settle(ctx, result); err != nil {
		c.options.Observe("not_stored")
	}
}

func (c *keyedCall) settle(ctx context.Context, result error) error {
	if nothingHappened(result) {
		c.options.Observe("released")
		return c.store.Abandon(ctx, c.attempt)
	}
	err := c.store.Finish(ctx, c.attempt, outcomeOf(c.response, result), c.options.Keep)
	if errors.Is(err, idempotency.ErrTooLarge) {
		err = c.store.Finish(ctx, c.attempt, outcomeOf(nil, errIdempotencyNotKept), c.options.Keep)
	}
	return err
}

// nothingHappened reports whether err means that the method had no effect, so that
// the key can be used again.
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

// replay responds with the outcome of the first call: it encodes the stored response
// or returns the stored error.
func (c *keyedCall) replay() error {
	var o outcome
	if err := json.Unmarshal(c.replayed, &o); err != nil {
		return fmt.Errorf("middleware: decode a stored result of %s: %w", c.call.Endpoint.FullName(), err)
	}
	c.call.Out.Set(idempotencyReplayed, "true")
	if o.Error != nil {
		return o.Error.restore(c.call.Endpoint)
	}
	response := reflect.New(c.call.Endpoint.ResponseType()).Interface()
	if err := strictjson.DecodeResponse(o.Response, response); err != nil {
		return fmt.Errorf("middleware: decode a stored response of %s: %w", c.call.Endpoint.FullName(), err)
	}
	return c.call.Respond(response)
}
