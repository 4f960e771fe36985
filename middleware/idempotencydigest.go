package middleware

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/internal/strictjson"
)

// newAttempt returns the attempt of a call. The key of the attempt is a digest of the endpoint,
// the principal and the client's key; its fingerprint is a digest of these and the request.
// newAttempt returns an error if the request cannot be digested or stretched, or if the secret is
// not available.
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
			return idempotency.Attempt{}, fmt.Errorf("middleware: stretch a request of %s: %w", call.Endpoint.FullName(), err)
		}
	}
	return idempotency.NewAttempt(hex.EncodeToString(digest(secret, "key", whose...)), digest(secret, "request", append(whose, string(content))...)), nil
}

func (k *keys) secret(ctx context.Context) ([]byte, error) {
	secret, err := k.options.Secret(ctx)
	if err == nil && len(secret) < minSecret {
		err = fmt.Errorf("middleware: IdempotencyOptions.Secret returned %d bytes: want at least %d", len(secret), minSecret)
	}
	return secret, err
}

// digest returns the HMAC-SHA256 of kind and parts. The length of each part is digested too, so
// that different sequences of parts have different digests.
func digest(secret []byte, kind string, parts ...string) []byte {
	mac := hmac.New(sha256.New, secret)
	for _, part := range append([]string{kind}, parts...) {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// canonical returns the content of a request for its digest: its JSON, followed by the fields
// that are not in its JSON. Equal requests have equal content on every transport.
func (k *keys) canonical(request any) ([]byte, error) {
	var content []byte
	err := strictjson.Append(&content, request)
	v := reflect.ValueOf(request).Elem()
	for i := range k.request.Fields {
		f := &k.request.Fields[i]
		if f.JSON != "" {
			continue
		}
		if field, missing := v.FieldByIndexErr(f.Index); missing == nil { // otherwise its embedded struct is nil
			content = fmt.Appendf(content, "\n%s %s\n", f.Source, f.Param)
			err = errors.Join(err, strictjson.Append(&content, field.Addr().Interface()))
		}
	}
	return content, err
}
