package middleware_test

import (
	"context"
	"errors"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/chassitest"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/idempotency/sqlstore"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/localapi"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

type orderRequest struct {
	Shop   string `path:"shop" json:"-"`
	Item   string `json:"item" validate:"max=20"`
	Secret string `json:"secret"`
	Wish   string `json:"wish"` // what is to become of it
}

type orderResponse struct {
	Number int64     `json:"number"`
	At     time.Time `json:"at"`
	Items  []string  `json:"items"`
	Text   string    `json:"text"`
}

var (
	errSoldOut = chassi.NewError(chassi.FailedPrecondition, "sold_out", "It is sold out").
			WithViolations(chassi.Violation{Field: "item", Message: "must be in stock"}).WithRetryAfter(5 * time.Second)
	errClosed = chassi.NewError(chassi.Unavailable, "closed", "The shop is closed")
)

// shop numbers the orders that it carries out.
type shop struct {
	orders         atomic.Int64
	entered, leave chan struct{}
	store          idempotency.Store
	db             *database.DB
	file           string
	options        middleware.IdempotencyOptions
	mu             sync.Mutex
	events         map[string]int
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{entered: make(chan struct{}), leave: make(chan struct{}), file: filepath.Join(t.TempDir(), "shop.db"), events: make(map[string]int)}
	db, err := database.Open(t.Context(), database.Config{URL: "sqlite:" + s.file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Migrate(t.Context(), fstest.MapFS{"sqlite/00001_keys.sql": {Data: []byte(sqlstore.Schema(db.Dialect()))}}); err != nil {
		t.Fatal(err)
	}
	s.db, s.store = db, sqlstore.New(db)
	s.options.Secret = secretly("a secret of the service, 32 bytes and more")
	s.options.Observe = func(event string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events[event]++
	}
	return s
}

// secretly returns what is given.
func secretly(secret string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(secret), nil }
}

func (s *shop) order(ctx context.Context, r *orderRequest) (*orderResponse, error) {
	number := s.orders.Add(1)
	switch r.Wish {
	case "sold out":
		return nil, errSoldOut.WithCause(errors.New("a hidden cause"))
	case "closed":
		return nil, errClosed
	case "broken":
		return nil, errors.New("a hidden cause")
	case "panic":
		panic("a hidden cause")
	case "late":
		<-ctx.Done()
		return nil, ctx.Err()
	case "wait":
		s.entered <- struct{}{}
		select {
		case <-s.leave:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case "long":
		return &orderResponse{Number: number, Text: strings.Repeat("x", 64<<10)}, nil
	}
	return &orderResponse{Number: number, At: time.Unix(1, 500).UTC(), Items: []string{r.Shop, r.Item}}, nil
}

// await waits for a call that wishes to wait, and release ends its wait.
func (s *shop) await(t *testing.T) {
	t.Helper()
	select {
	case <-s.entered:
	case <-time.After(20 * time.Second):
		t.Fatal("the call does not come")
	}
}

func (s *shop) release(t *testing.T) {
	t.Helper()
	select {
	case s.leave <- struct{}{}:
	case <-time.After(20 * time.Second):
		t.Fatal("the call does not wait any more")
	}
}

// service is one with keys for Order, and none for Ask.
func (s *shop) service(options ...chassi.EndpointOption) *chassi.Service {
	if len(options) == 0 {
		options = []chassi.EndpointOption{chassi.Public}
	}
	service := chassi.NewService("shop.v1.Shop",
		chassi.NewEndpoint("Order", s.order, append(options, chassi.Route("POST /v1/shops/{shop}/orders"))...),
		chassi.NewEndpoint("Ask", s.order, chassi.Public, chassi.Route("POST /v1/shops/{shop}/questions")))
	if err := middleware.Idempotency(service, s.store, s.options, "Order"); err != nil {
		panic(err)
	}
	return service
}

// buyer calls a shop.
type buyer struct {
	t *testing.T
	c *client.Client
}

type keyKey struct{}

func keyOf(ctx context.Context) string { key, _ := ctx.Value(keyKey{}).(string); return key }

// newBuyer reports in *bool whether a response was replayed, if that is in the context.
func newBuyer(t *testing.T, s *shop, caller client.Caller, around ...chassi.Middleware) buyer {
	t.Helper()
	see := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			if replayed, ok := ctx.Value(see{}).(*bool); ok {
				*replayed = call.Out.Get("Idempotency-Replayed") == "true"
			}
			return err
		}
	}
	c, err := client.New(s.service(), caller, append(around, middleware.SendIdempotencyKey(keyOf), see)...)
	if err != nil {
		t.Fatal(err)
	}
	return buyer{t, c}
}

type see struct{}

func (b buyer) call(ctx context.Context, name, key string, r orderRequest) (response *orderResponse, replayed bool, err error) {
	ctx = context.WithValue(context.WithValue(ctx, keyKey{}, key), see{}, &replayed)
	response, err = client.Invoke[orderResponse](ctx, b.c, name, &r)
	return response, replayed, err
}

// order wants an order to be carried out, or not to be, and returns the response.
func (b buyer) order(key string, r orderRequest, replayed bool) *orderResponse {
	b.t.Helper()
	response, again, err := b.call(b.t.Context(), "Order", key, r)
	if err != nil || again != replayed {
		b.t.Fatalf("key %s: %v, replayed %t, want %t", key, err, again, replayed)
	}
	return response
}

// refused wants an error, and returns it.
func (b buyer) refused(key string, r orderRequest, code chassi.Code, reason string, replayed bool) *chassi.Error {
	b.t.Helper()
	_, again, err := b.call(b.t.Context(), "Order", key, r)
	e := chassi.ErrorOf(err)
	if e == nil || e.Code != code || e.Reason != reason || again != replayed {
		b.t.Fatalf("key %s: %v, replayed %t, want %s, %t", key, err, again, reason, replayed)
	}
	return e
}

// One service, and the same to callers over every transport.
func TestIdempotencyEverywhere(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var numbers sync.Map
	t.Run("transports", func(t *testing.T) {
		chassitest.Everywhere(t, func() *chassi.Service { return s.service() }, func(t *testing.T, caller client.Caller) {
			b, r, key := newBuyer(t, s, caller), orderRequest{Shop: "corner", Item: "tea"}, "key of "+t.Name()
			key = strings.ReplaceAll(key, " ", "-")
			first := b.order(key, r, false)
			if diff := cmp.Diff(first, b.order(`"`+key+`"`, r, true)); diff != "" {
				t.Errorf("the response is another one:\n%s", diff)
			}
			if other := b.order(key+"2", r, false); other.Number == first.Number {
				t.Error("another key got the response of the first")
			}
			if none := b.order("", r, false); none.Number == first.Number {
				t.Error("a call without a key got the response of the first")
			}
			for _, other := range []orderRequest{{Shop: "other", Item: "tea"}, {Shop: "corner", Item: "Tea"}, {Shop: "corner", Item: "tea", Secret: "s"}} {
				b.refused(key, other, chassi.FailedPrecondition, "idempotency_key_reused", false)
			}
			if e := b.refused(`"open`, r, chassi.InvalidArgument, "invalid_idempotency_key", false); len(e.Violations) != 1 || e.Violations[0].Field != "Idempotency-Key" {
				t.Errorf("%v", e.Violations)
			}
			r.Wish = "sold out"
			refusal := b.refused(key+"3", r, chassi.FailedPrecondition, "sold_out", false)
			again := b.refused(key+"3", r, chassi.FailedPrecondition, "sold_out", true)
			if diff := cmp.Diff(refusal.Violations, again.Violations); diff != "" || again.RetryAfter != refusal.RetryAfter || again.Message != refusal.Message {
				t.Errorf("%v, retry after %v, %s", again, again.RetryAfter, diff)
			}
			r.Wish = "closed"
			b.refused(key+"4", r, chassi.Unavailable, "closed", false)
			b.refused(key+"4", r, chassi.Unavailable, "closed", false)
			r.Wish = "panic"
			b.refused(key+"5", r, chassi.Internal, "internal", false)
			b.refused(key+"5", r, chassi.Internal, "internal", true)
			r.Wish = ""
			if _, replayed, err := b.call(t.Context(), "Ask", key, r); err != nil || replayed {
				t.Errorf("an endpoint without keys: %v, replayed %t", err, replayed)
			}
			number, err := b.patiently("the-same-everywhere", r)
			if err != nil {
				t.Error(err)
			}
			numbers.Store(t.Name(), number)
		})
	})
	var all []int64
	numbers.Range(func(_, n any) bool { all = append(all, n.(int64)); return true })
	for _, n := range all {
		if n != all[0] || len(all) < 4 {
			t.Errorf("one key over all transports carried out orders %d", all)
		}
	}
}

// patiently tries until there is no conflict.
func (b buyer) patiently(key string, r orderRequest) (int64, error) {
	for {
		response, _, err := b.call(b.t.Context(), "Order", key, r)
		if chassi.ErrorOf(err) == nil {
			return response.Number, nil
		}
		if chassi.ErrorOf(err).Code != chassi.Aborted {
			return 0, err
		}
	}
}

// local is a buyer in the same process.
func (s *shop) local(t *testing.T, service *chassi.Service, around ...chassi.Middleware) buyer {
	t.Helper()
	server := localapi.New(append([]chassi.Middleware{middleware.Recover()}, around...)...)
	if err := server.Mount(service); err != nil {
		t.Fatal(err)
	}
	return newBuyer(t, s, server)
}

func TestIdempotencyRejectsConcurrentRepetition(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	b, r := s.local(t, s.service()), orderRequest{Wish: "wait"}
	first := make(chan *orderResponse)
	go func() {
		response, _, err := b.call(t.Context(), "Order", "k", r)
		if err != nil {
			t.Error(err)
		}
		first <- response
	}()
	s.await(t)
	if e := b.refused("k", r, chassi.Aborted, "idempotency_conflict", false); e.RetryAfter != time.Second {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	b.refused("k", orderRequest{Wish: "other"}, chassi.FailedPrecondition, "idempotency_key_reused", false)
	s.release(t)
	if diff := cmp.Diff(<-first, b.order("k", r, true)); diff != "" {
		t.Error(diff)
	}
	if n := s.orders.Load(); n != 1 {
		t.Errorf("carried out %d times", n)
	}
	if diff := cmp.Diff(map[string]int{"begun": 1, "conflict": 1, "reused": 1, "replayed": 1}, s.events); diff != "" {
		t.Error(diff)
	}
}

// A caller that disconnects finds the result when it comes back.
func TestIdempotencyOutlivesTheCaller(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	b, r := s.local(t, s.service()), orderRequest{Wish: "wait"}
	ctx, goAway := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, _, err := b.call(ctx, "Order", "k", r)
		first <- err
	}()
	s.await(t)
	goAway()
	s.release(t)
	if err := <-first; err != nil {
		t.Errorf("in process the end of the context is not reported: %v", err)
	}
	b.order("k", r, true)
	// One that has gone before it began is not carried out.
	if _, _, err := b.call(ctx, "Order", "k2", orderRequest{}); !errors.Is(err, chassi.ErrorOf(context.Canceled)) || s.orders.Load() != 1 {
		t.Errorf("%v, carried out %d times", err, s.orders.Load())
	}
	b.order("k2", orderRequest{}, false)
}

func TestIdempotencyKeepsUncertainOutcomes(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	b := s.local(t, s.service(), middleware.Timeout(200*time.Millisecond))
	for wish, want := range map[string]struct {
		code   chassi.Code
		reason string
	}{
		"broken": {chassi.Internal, "internal"}, "panic": {chassi.Internal, "internal"},
		"late": {chassi.DeadlineExceeded, "deadline_exceeded"}, "sold out": {chassi.FailedPrecondition, "sold_out"},
	} {
		key, r := strings.ReplaceAll(wish, " ", "-"), orderRequest{Wish: wish}
		b.refused(key, r, want.code, want.reason, false)
		before := s.orders.Load()
		e := b.refused(key, r, want.code, want.reason, true)
		if s.orders.Load() != before {
			t.Errorf("%s: carried out again", wish)
		}
		if strings.Contains(e.Error(), "a hidden cause") {
			t.Errorf("%s: the cause was stored: %v", wish, e)
		}
	}
	// A response that is too long is returned once.
	b.order("long", orderRequest{Wish: "long"}, false)
	before := s.orders.Load()
	b.refused("long", orderRequest{Wish: "long"}, chassi.FailedPrecondition, "idempotency_response_not_kept", true)
	if s.orders.Load() != before {
		t.Error("carried out again, because its response was long")
	}
}

// After an error that says that nothing happened a key is free, for another request
// too.
func TestIdempotencyReleasesKeys(t *testing.T) {
	t.Parallel()
	for _, code := range chassi.Codes() {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			released := map[chassi.Code]bool{
				chassi.InvalidArgument: true, chassi.OutOfRange: true, chassi.Unimplemented: true, chassi.Unauthenticated: true,
				chassi.PermissionDenied: true, chassi.ResourceExhausted: true, chassi.Aborted: true, chassi.Unavailable: true,
			}[code]
			s := newShop(t)
			runs := 0
			e := chassi.NewEndpoint("Order", func(context.Context, *orderRequest) (*orderResponse, error) {
				runs++
				return nil, chassi.NewError(code, "because", "Because")
			}, chassi.Public)
			service := chassi.NewService("shop.v1.Shop", e)
			if err := middleware.Idempotency(service, s.store, s.options, "Order"); err != nil {
				t.Fatal(err)
			}
			server := localapi.New()
			if err := server.Mount(service); err != nil {
				t.Fatal(err)
			}
			c, err := client.New(service, server, middleware.SendIdempotencyKey(keyOf))
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := client.Invoke[orderResponse](context.WithValue(t.Context(), keyKey{}, "k"), c, "Order", &orderRequest{}); chassi.ErrorOf(err).Code != code {
					t.Errorf("%v", err)
				}
			}
			if want := map[bool]int{true: 3, false: 1}[released]; runs != want {
				t.Errorf("carried out %d times, want %d", runs, want)
			}
		})
	}
}

// What validation refuses leaves the key free.
func TestIdempotencyAndValidation(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	b := s.local(t, s.service(), middleware.Validation())
	b.refused("k", orderRequest{Item: strings.Repeat("x", 21)}, chassi.InvalidArgument, "invalid_request", false)
	b.order("k", orderRequest{Item: "tea"}, false)
}

// The documents of a service say which endpoints take keys.
func TestIdempotencyIsDocumented(t *testing.T) {
	t.Parallel()
	s := chassi.NewService("shop.v1.Shop", chassi.NewEndpoint("Order", func(context.Context, *orderRequest) (*struct{}, error) { return &struct{}{}, nil }))
	options := middleware.IdempotencyOptions{Secret: func(context.Context) ([]byte, error) { return make([]byte, 32), nil }}
	if err := middleware.Idempotency(s, nil, options, "Order"); err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, err := range s.Endpoint("Order").Errors() {
		reasons = append(reasons, err.Reason)
	}
	if s.Endpoint("Order").Headers()["Idempotency-Key"] == "" || !slices.Contains(reasons, "idempotency_conflict") || !slices.Contains(reasons, "idempotency_unavailable") {
		t.Errorf("headers %v, errors %v", s.Endpoint("Order").Headers(), reasons)
	}
}

// A key belongs to its principal, and a caller without permission learns nothing.
func TestIdempotencyKeysBelongToPrincipals(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	as := func(subject string) buyer {
		return s.local(t, s.service(chassi.Authenticated), middleware.Authentication(middleware.Authenticator{Authenticate: func(context.Context, *chassi.Call) (*chassi.Principal, error) {
			if subject == "" {
				return nil, nil
			}
			scheme, subject, _ := strings.Cut(subject, ":")
			return &chassi.Principal{Scheme: scheme, Subject: subject}, nil
		}}))
	}
	seen := make(map[int64]string)
	for _, subject := range []string{"bearer:ada", "bearer:eve", "api_key:ada", "bearera:da"} {
		b := as(subject)
		number := b.order("k", orderRequest{Item: "tea"}, false).Number
		if other := seen[number]; other != "" {
			t.Errorf("%s got the response of %s", subject, other)
		}
		seen[number] = subject
		b.order("k", orderRequest{Item: "tea"}, true)
	}
	for _, key := range []string{"k", "k2", `"malformed`} {
		as("").refused(key, orderRequest{Item: "tea"}, chassi.Unauthenticated, "unauthenticated", false)
	}
}

// Without the store a call with a key is not carried out, and one without is.
func TestIdempotencyFailsClosed(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	b := s.local(t, s.service())
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	if e := b.refused("k", orderRequest{}, chassi.Unavailable, "idempotency_unavailable", false); e.RetryAfter != time.Second || s.orders.Load() != 0 {
		t.Errorf("retry after %v, carried out %d times", e.RetryAfter, s.orders.Load())
	}
	b.order("", orderRequest{}, false)
}

// A store that becomes unavailable during a call does not affect its response.
func TestIdempotencyReturnsUnstorableResponses(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	b, answered := s.local(t, s.service()), make(chan error)
	go func() {
		_, _, err := b.call(t.Context(), "Order", "k", orderRequest{Wish: "wait"})
		answered <- err
	}()
	s.await(t)
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	s.release(t)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]int{"begun": 1, "not_stored": 1}, s.events); diff != "" {
		t.Error(diff)
	}
}

// Neither the key nor the request is stored, nor a digest of the request alone; and the
// log has a line for each call, with none of them.
func TestIdempotencyRevealsNoSecrets(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	const canary = "canary-of-the-service, 32 bytes and more"
	s.options.Secret = secretly(canary)
	var log lines
	b := s.local(t, s.service(), middleware.Logging(log.logger()))
	for _, replayed := range []bool{false, true} {
		b.order("canary-key", orderRequest{Item: "canary-item-of-it", Secret: "canary-secret"}, replayed)
	}
	fingerprints := make(map[string]bool)
	for secret, key := range map[string]string{"another " + canary: "canary-key", "a third " + canary: "canary-key", canary: "canary-key-2"} {
		s.options.Secret = secretly(secret)
		s.local(t, s.service()).order(key, orderRequest{Item: "canary-item-of-it", Secret: "canary-secret"}, false)
	}
	rows, err := s.db.Query(t.Context(), "SELECT fingerprint FROM idempotency_keys")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var f []byte
		if err := rows.Scan(&f); err != nil {
			t.Fatal(err)
		}
		fingerprints[string(f)] = true
	}
	if len(fingerprints) != 4 {
		t.Errorf("%d fingerprints of a request with two keys and three secrets, want 4", len(fingerprints))
	}
	var files strings.Builder
	for _, file := range []string{s.file, s.file + "-wal"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		files.Write(content)
	}
	stored := files.String()
	if !strings.Contains(stored, "canary-item-of-it") {
		t.Error("the response is not stored where it is looked for")
	}
	for _, canary := range []string{"canary-key", "canary-secret", "canary-of-the-service"} {
		if strings.Contains(stored, canary) {
			t.Errorf("%s is stored", canary)
		}
	}
	text := log.String()
	if n := strings.Count(text, `"msg":"call"`); n != 2 || strings.Count(text, `"status":0`) != 2 || strings.Contains(text, "canary") {
		t.Errorf("%d lines:\n%s", n, text)
	}
}

// R79: there is no way to do without a secret, and a call with a key is not made without
// one.
func TestIdempotencyNeedsASecret(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.options.Secret = nil
	service := chassi.NewService("shop.v1.Shop", chassi.NewEndpoint("Order", s.order, chassi.Public))
	if err := middleware.Idempotency(service, s.store, s.options, "Order"); err == nil || !strings.Contains(err.Error(), "IdempotencyOptions.Secret is nil") {
		t.Errorf("without a secret: %v", err)
	}
	for name, secret := range map[string]func(context.Context) ([]byte, error){
		"short":   secretly("31 bytes, which is one too few."),
		"none":    secretly(""),
		"failing": func(context.Context) ([]byte, error) { return nil, errors.New("a hidden cause") },
	} {
		s.options.Secret = secret
		s.local(t, s.service()).refused("k-"+name, orderRequest{}, chassi.Unavailable, "idempotency_unavailable", false)
	}
	if s.orders.Load() != 0 || s.events["unavailable"] != 3 {
		t.Errorf("carried out %d times, %v", s.orders.Load(), s.events)
	}
}

// What is stored of a request has been stretched, under a salt of the key's own, and an
// error of stretching is the response.
func TestIdempotencyStretchesRequests(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	salts, failure := make(map[string]int), error(nil)
	s.options.Stretch = func(_ context.Context, salt, request []byte) ([]byte, error) {
		if len(salt) != 16 || !strings.Contains(string(request), "a secret") {
			t.Errorf("salt %x, request %s", salt, request)
		}
		salts[string(salt)]++
		return []byte("stretched"), failure // all alike: then all requests are one
	}
	b, r := s.local(t, s.service()), orderRequest{Item: "tea", Secret: "a secret"}
	b.order("k", r, false)
	b.order("k", orderRequest{Item: "coffee", Secret: "a secret of another"}, true)
	b.order("k2", r, false)
	if len(salts) != 2 {
		t.Errorf("%d salts of two keys", len(salts))
	}
	failure = errClosed
	b.refused("k3", r, chassi.Unavailable, "closed", false)
	failure = errors.New("a hidden cause")
	b.refused("k4", r, chassi.Internal, "internal", false)
	if s.orders.Load() != 2 {
		t.Errorf("carried out %d times, want 2", s.orders.Load())
	}
}

// What would be refused anyway is refused before it costs a digest and a look into the
// store, with its own error, and leaves keys alone.
func TestIdempotencyChecksRequestsFirst(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	stretched := 0
	s.options.Stretch = func(_ context.Context, _, request []byte) ([]byte, error) { stretched++; return request, nil }
	s.options.Check = func(_ context.Context, request any) error {
		if request.(*orderRequest).Item == "nothing" {
			return errClosed
		}
		return nil
	}
	b := s.local(t, s.service())
	b.refused("k", orderRequest{Item: "nothing"}, chassi.Unavailable, "closed", false)
	if stretched != 0 || s.orders.Load() != 0 || len(s.events) != 0 {
		t.Errorf("stretched %d times, carried out %d times, %v", stretched, s.orders.Load(), s.events)
	}
	b.order("k", orderRequest{Item: "tea"}, false)
	b.refused("k", orderRequest{Item: "nothing"}, chassi.Unavailable, "closed", false) // it does not learn that the key was used
	b.order("k", orderRequest{Item: "tea"}, true)
	if stretched != 2 {
		t.Errorf("stretched %d times, want 2", stretched)
	}
}

func TestIdempotencyIsNamedRight(t *testing.T) {
	t.Parallel()
	type file struct{ File chassi.File }
	type field struct {
		Status int `json:"-" status:"201"`
	}
	newService := func() *chassi.Service {
		return chassi.NewService("shop.v1.Shop", chassi.NewEndpoint("Look", (&shop{}).order, chassi.Public, chassi.Idempotent),
			chassi.NewEndpoint("Upload", func(context.Context, *file) (*field, error) { return nil, nil }, chassi.Public),
			chassi.NewEndpoint("Download", func(context.Context, *field) (*file, error) { return nil, nil }, chassi.Public),
			chassi.NewEndpoint("Create", func(context.Context, *struct{}) (*field, error) { return nil, nil }, chassi.Public),
			chassi.NewStream("Watch", func(context.Context, *struct{}) (iter.Seq2[*field, error], error) { return nil, nil }, chassi.Public),
			chassi.RawEndpoint("Page", func(context.Context, *chassi.Call) error { return nil }, chassi.Public))
	}
	for name, want := range map[string]string{
		"Loook": "no such endpoint", "Look": "declared idempotent", "Upload": "shop.v1.Shop/Upload: requests with files cannot be digested", "Download": "responses with files cannot be stored",
		"Create": "the field Status of the response is not part of its JSON", "Watch": "is a stream", "Page": "an http.Handler has no response",
	} {
		if err := middleware.Idempotency(newService(), nil, middleware.IdempotencyOptions{Secret: secretly(name)}, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An endpoint that is not named takes no keys: it carries out each call. Without Observe no event
// is reported.
func TestIdempotencyIsForNamedEndpoints(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.options.Observe = nil
	b := s.local(t, s.service())
	for _, name := range []string{"Order", "Ask"} {
		for n := range 2 {
			_, replayed, err := b.call(t.Context(), name, "k", orderRequest{Item: "tea"})
			if want := name == "Order" && n == 1; err != nil || replayed != want {
				t.Errorf("call %d of %s: replayed %t, want %t; %v", n+1, name, replayed, want, err)
			}
		}
	}
	if n := s.orders.Load(); n != 3 {
		t.Errorf("%d calls carried out, want one of Order and two of Ask", n)
	}
}

type measure struct{ Value float64 }

// A request that has no JSON form has no fingerprint, and is not carried out with a key.
func TestIdempotencyRefusesRequestsWithoutAFingerprint(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	runs := 0
	service := chassi.NewService("shop.v1.Shop", chassi.NewEndpoint("Measure", func(context.Context, *measure) (*measure, error) {
		runs++
		return &measure{}, nil
	}, chassi.Public))
	if err := middleware.Idempotency(service, s.store, s.options, "Measure"); err != nil {
		t.Fatal(err)
	}
	server := localapi.New()
	if err := server.Mount(service); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(service, server, middleware.SendIdempotencyKey(keyOf))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithValue(t.Context(), keyKey{}, "k")
	if _, err := client.Invoke[measure](ctx, c, "Measure", &measure{math.NaN()}); err == nil || runs != 0 {
		t.Errorf("%v, carried out %d times", err, runs)
	}
	if _, err := client.Invoke[measure](ctx, c, "Measure", &measure{1}); err != nil || runs != 1 {
		t.Errorf("%v, carried out %d times", err, runs)
	}
}

// Of a hundred concurrent calls one is carried out; the others get its response or are asked to
// retry.
func TestIdempotencyInParallel(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	b := s.local(t, s.service())
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if n, err := b.patiently("k", orderRequest{Item: "tea"}); n != 1 || err != nil {
				t.Errorf("order %d, %v", n, err)
			}
		})
	}
	all.Wait()
	if n := s.orders.Load(); n != 1 {
		t.Errorf("carried out %d times", n)
	}
}

// lostResponses begins attempts and does not say so.
type lostResponses struct{ idempotency.Store }

func (s lostResponses) Begin(ctx context.Context, a idempotency.Attempt, lease time.Duration) (idempotency.State, []byte, error) {
	_, _, err := s.Store.Begin(ctx, a, lease)
	return 0, nil, errors.Join(errors.New("the response was lost"), err)
}

// A call that was refused because the store did not respond leaves nothing behind, even if
// the store did what it was asked.
func TestIdempotencyReleasesUnstartedAttempts(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	store := s.store
	s.store = lostResponses{store}
	s.local(t, s.service()).refused("k", orderRequest{}, chassi.Unavailable, "idempotency_unavailable", false)
	s.store = store
	s.local(t, s.service()).order("k", orderRequest{}, false)
}

// lateResponses begins attempts, and says so when the time of the call is over.
type lateResponses struct{ idempotency.Store }

func (s lateResponses) Begin(ctx context.Context, a idempotency.Attempt, lease time.Duration) (idempotency.State, []byte, error) {
	state, outcome, err := s.Store.Begin(ctx, a, lease)
	<-ctx.Done()
	return state, outcome, err
}

// A call whose time is over before it has begun is not carried out, and leaves nothing behind.
func TestIdempotencyDoesNotBeginTooLate(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	store := s.store
	s.store = lateResponses{store}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, _, err := s.local(t, s.service()).call(ctx, "Order", "k", orderRequest{})
	if n := s.orders.Load(); err == nil || n != 0 {
		t.Errorf("%v, carried out %d times", err, n)
	}
	s.store = store
	s.local(t, s.service()).order("k", orderRequest{}, false)
}

// Shelf is embedded by a pointer.
type Shelf struct {
	Number int `json:"-" query:"shelf"`
}

type lookRequest struct {
	*Shelf
	Item string `json:"item"`
}

// Parameters in an embedded struct belong to the fingerprint; where it is missing there are none.
func TestIdempotencyOfEmbeddedParameters(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	service := chassi.NewService("shop.v1.Shop", chassi.NewEndpoint("Look", func(context.Context, *lookRequest) (*orderResponse, error) {
		return &orderResponse{Number: s.orders.Add(1)}, nil
	}, chassi.Public))
	if err := middleware.Idempotency(service, s.store, s.options, "Look"); err != nil {
		t.Fatal(err)
	}
	server := localapi.New()
	if err := server.Mount(service); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(service, server, middleware.SendIdempotencyKey(keyOf))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithValue(t.Context(), keyKey{}, "k")
	for range 2 {
		if _, err := client.Invoke[orderResponse](ctx, c, "Look", &lookRequest{Item: "tea"}); err != nil || s.orders.Load() != 1 {
			t.Errorf("%v, carried out %d times", err, s.orders.Load())
		}
	}
}

// A middleware that swallows the response makes no success of it, now or later.
func TestIdempotencyWithoutAResponse(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	service := s.service().Use(func(_ *chassi.Binding, _ chassi.Handler) chassi.Handler {
		return func(_ context.Context, call *chassi.Call) error { return call.Codec.Decode(&orderRequest{}) }
	})
	b := s.local(t, service)
	b.refused("k", orderRequest{}, chassi.Internal, "internal", false)
	b.refused("k", orderRequest{}, chassi.Internal, "internal", true)
}

// code is written by a method that encoding/json does not know.
type code struct{ text string } //nolint:recvcheck // as a JSON type is: written by value, read by pointer

func (c code) MarshalJSONTo(e *jsontext.Encoder) error { return e.WriteToken(jsontext.String(c.text)) }

func (c *code) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	token, err := d.ReadToken()
	c.text = token.String()
	return err
}

type coded struct {
	Code code     `json:"code"`
	Tags []string `json:"tags"`
	Hall *int     `json:"-" query:"hall"`
	Note string   `json:"-"` // not carried
}

// A fingerprint is of what transports carry: requests that no transport can distinguish have the
// same one, and those that differ in the smallest part another.
func TestIdempotencyFingerprintCoversTheMessage(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	service := chassi.NewService("shop.v1.Shop", chassi.NewEndpoint("Code", func(_ context.Context, r *coded) (*coded, error) {
		return &coded{Code: code{"of " + r.Code.text}}, nil
	}, chassi.Public))
	if err := middleware.Idempotency(service, s.store, s.options, "Code"); err != nil {
		t.Fatal(err)
	}
	server := localapi.New()
	if err := server.Mount(service); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(service, server, middleware.SendIdempotencyKey(keyOf))
	if err != nil {
		t.Fatal(err)
	}
	ctx, hall := context.WithValue(t.Context(), keyKey{}, "k"), 0
	for name, request := range map[string]coded{
		"as before": {Code: code{"a"}}, "an empty list": {Code: code{"a"}, Tags: []string{}}, "a field that is not carried": {Code: code{"a"}, Note: "n"},
	} {
		if got, err := client.Invoke[coded](ctx, c, "Code", &request); err != nil || got.Code.text != "of a" {
			t.Errorf("%s: %+v, %v, want the first response", name, got, err)
		}
	}
	for name, request := range map[string]coded{
		"a method's text": {Code: code{"b"}}, "a list": {Code: code{"a"}, Tags: []string{""}}, "a parameter": {Code: code{"a"}, Hall: &hall},
	} {
		if _, err := client.Invoke[coded](ctx, c, "Code", &request); chassi.ErrorOf(err) == nil || chassi.ErrorOf(err).Reason != "idempotency_key_reused" {
			t.Errorf("%s: %v, want idempotency_key_reused", name, err)
		}
	}
}
