package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/password"
)

// unstored returns a service whose store is never used.
func unstored(t *testing.T, o Options) *Service {
	t.Helper()
	s, err := New(Config{Password: password.DefaultParams()}, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// away is the error of a database that is closed.
func away(t *testing.T) error {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: "sqlite:" + t.TempDir() + "/test.db"})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = store.New(db).HashKinds(t.Context())
	if !store.IsUnavailable(err) {
		t.Fatalf("%v, want a database that is away", err)
	}
	return err
}

// A job that fails or panics is logged once, at ERROR, or at INFO while the database is
// unavailable, and runs again after its interval. It ends with its context, and logs nothing of
// that.
func TestBackgroundJobsGoOn(t *testing.T) {
	t.Parallel()
	unavailable := away(t)
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "error" || a.Key == "stack" {
				return slog.Attr{}
			}
			return a
		}}))
		s := unstored(t, Options{Logger: logger})
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var runs []time.Duration
		outcomes := []error{nil, errors.New("broken"), errors.New("broken"), nil, unavailable, unavailable, nil}
		job := func(ctx context.Context) error {
			runs = append(runs, time.Since(began))
			if end, ok := ctx.Deadline(); !ok || time.Until(end) != jobTimeout {
				t.Errorf("a job has until %v, want %v", end, jobTimeout)
			}
			switch i := len(runs) - 1; {
			case i < len(outcomes):
				return outcomes[i]
			case i == len(outcomes):
				panic("a defect")
			}
			cancel()
			return ctx.Err()
		}
		s.every(ctx, "tests", time.Minute, job)
		for i, at := range runs {
			if at != time.Duration(i+1)*time.Minute {
				t.Errorf("run %d after %v", i, at)
			}
		}
		if len(runs) != len(outcomes)+2 {
			t.Errorf("%d runs", len(runs))
		}
		var lines []string
		for line := range strings.Lines(log.String()) {
			level, msg, _ := strings.Cut(strings.TrimPrefix(line, "level="), " msg=")
			lines = append(lines, fmt.Sprint(level, " ", msg[:strings.LastIndexByte(msg, '"')+1]))
			if !strings.Contains(line, "job=tests") {
				t.Errorf("%s: the job is not named", line)
			}
		}
		want := `ERROR "background job fails", INFO "background job works again", INFO "background job waits for the database", INFO "background job works again", ERROR "background job fails"`
		if got := strings.Join(lines, ", "); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	})
}

// Of several kinds of hashes the most expensive take equal time, after the current one.
func TestTheCheapestKindsOfHashesAreLeftOut(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := unstored(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	today := s.config.Password
	cost := func(memory, passes uint32, threads uint8) password.Params {
		p := today
		p.Memory, p.Time, p.Parallelism = memory, passes, threads
		return p
	}
	found := []password.Params{
		cost(64, 1, 1), cost(64, 4, 1), cost(256, 1, 1), cost(128, 1, 1), cost(256, 1, 2), today, cost(256, 1, 1),
	}
	s.changeCosts(t.Context(), found)
	want := fmt.Sprint([]password.Params{today, cost(256, 1, 2), cost(256, 1, 1), cost(64, 4, 1)})
	if got := fmt.Sprint(s.costs.get()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if text := log.String(); !strings.Contains(text, "kinds=4") || !strings.Contains(text, "evened_out=4 others=2") {
		t.Error(text)
	}
	log.Reset()
	s.changeCosts(t.Context(), found)
	if log.Len() > 0 {
		t.Errorf("nothing has changed: %s", &log)
	}
}

// Bucket keys of different parts and kinds differ.
func TestBucketKeysAreApart(t *testing.T) {
	t.Parallel()
	s := unstored(t, Options{})
	s.root.Store(newSecrets([]byte("root")))
	keys := map[string]bool{}
	for _, key := range []string{s.bucketKey("pair", "ab", "c"), s.bucketKey("pair", "a", "bc"), s.bucketKey("pair", "abc"), s.bucketKey("account", "abc")} {
		keys[key] = true
	}
	s.root.Store(newSecrets([]byte("another root")))
	keys[s.bucketKey("account", "abc")] = true
	if len(keys) != 5 {
		t.Errorf("%v, want five keys", keys)
	}
}

func TestANewService(t *testing.T) {
	t.Parallel()
	s := unstored(t, Options{})
	if s.Name() != "auth" {
		t.Error(s.Name())
	}
	s.options.Observe("nothing")
	if err := s.options.CleanUp(t.Context()); err != nil {
		t.Error(err)
	}
	if now := time.Now(); s.options.Issued().Sub(now) > time.Minute || s.options.Now().Before(now) {
		t.Errorf("issued %v, now %v", s.options.Issued(), s.options.Now())
	}
	if _, err := s.Secret("a purpose"); err == nil || !strings.Contains(err.Error(), "not loaded yet") {
		t.Errorf("the root secret before the start: %v", err)
	}
	if status := s.KeyStatus(); status != (KeyStatus{Text: "not loaded yet"}) {
		t.Errorf("%+v", status)
	}
}

func TestOnlySignUpsCanBeChecked(t *testing.T) {
	t.Parallel()
	if err := unstored(t, Options{}).CheckSignUp(t.Context(), 17); err == nil || !strings.Contains(err.Error(), "the request of a sign-up has type int") {
		t.Errorf("%v", err)
	}
}

// Keys are looked for once a second at most, and at once after the clock was set back.
func TestCoolDown(t *testing.T) {
	t.Parallel()
	var c coolDown
	now := time.Now()
	for _, step := range []struct {
		at   time.Duration
		over bool
	}{{0, true}, {0, false}, {999 * time.Millisecond, false}, {time.Second, true}, {1500 * time.Millisecond, false}, {-time.Hour, true}, {-time.Hour + time.Second, true}} {
		if got := c.over(now.Add(step.at)); got != step.over {
			t.Errorf("at %v: %t", step.at, got)
		}
	}
}
