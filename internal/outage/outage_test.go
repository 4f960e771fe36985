package outage_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/internal/outage"
)

var errAway = errors.New("connection refused")

type line struct {
	Level, Msg, Error, Lasted, Name string
	Failures, Omitted               int
}

func parse(t *testing.T, log *bytes.Buffer) (lines []line) {
	t.Helper()
	for d := json.NewDecoder(log); d.More(); {
		var l line
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestOutageHasOneLineAtEachEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := outage.New(slog.New(slog.NewJSONHandler(&log, nil)).With("name", "thing"), slog.LevelWarn, "away", "back")
		o.Succeeded() // nothing had failed
		for range 100 {
			o.Failed(errAway)
			time.Sleep(time.Second)
		}
		o.Succeeded()
		o.Succeeded()
		want := []line{
			{Level: "WARN", Msg: "away", Error: "connection refused", Name: "thing"},
			{Level: "INFO", Msg: "back", Lasted: "1m40s", Failures: 100, Name: "thing"},
		}
		if got := parse(t, &log); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// Of a dependency with several parts the outage lasts while one of them fails.
func TestOutageOfParts(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := outage.New(slog.New(slog.NewJSONHandler(&log, nil)), slog.LevelWarn, "away", "back")
	a, b := o.Part(), o.Part()
	a.Failed(errAway)
	b.Failed(errAway)
	a.Failed(errAway)
	a.Succeeded()
	a.Succeeded()
	if !o.Down() {
		t.Error("ended while a part fails")
	}
	b.Succeeded()
	if got := parse(t, &log); o.Down() || len(got) != 2 || got[0].Msg != "away" || got[1].Msg != "back" || got[1].Failures != 3 {
		t.Errorf("%+v, down: %v", got, o.Down())
	}
	a.Failed(errAway)
	if got := parse(t, &log); len(got) != 1 || !o.Down() {
		t.Errorf("%+v", got)
	}
}

// A dependency that comes and goes ten times a second for a minute has few lines, and an
// outage that follows at once and lasts is still logged.
func TestOutageBoundsFlapping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := outage.New(slog.New(slog.NewJSONHandler(&log, nil)), slog.LevelError, "away", "back")
		for range 599 {
			o.Failed(errAway)
			time.Sleep(50 * time.Millisecond)
			o.Succeeded()
			time.Sleep(50 * time.Millisecond)
		}
		if n := len(parse(t, &log)); n != 12 {
			t.Errorf("%d lines in a minute, want those of 6 outages", n)
		}
		for range 61 {
			o.Failed(errAway)
			time.Sleep(time.Second)
		}
		if got := parse(t, &log); len(got) != 1 || got[0].Msg != "away" {
			t.Errorf("%+v, want the beginning of the outage that lasts", got)
		}
	})
}

func TestOutageIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	o := outage.New(slog.New(slog.DiscardHandler), slog.LevelWarn, "away", "back")
	for range 8 {
		all.Go(func() {
			for range 1000 {
				o.Failed(errAway)
				o.Succeeded()
			}
		})
	}
	all.Wait()
}

// Each message has a line in an interval, which counts those that were left out.
func TestEventsAreLoggedOnceInAnInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewJSONHandler(&log, nil))
		byDefault, minute := outage.NewEvents(logger, 0), outage.NewEvents(logger, time.Minute)
		for range 600 {
			byDefault.Log(slog.LevelWarn, "one", "error", "text")
			byDefault.Log(slog.LevelError, "another")
			byDefault.Log(slog.LevelDebug, "below the level")
			minute.Log(slog.LevelInfo, "seldom")
			time.Sleep(time.Second)
		}
		count := make(map[string]int)
		for _, l := range parse(t, &log) {
			if count[l.Msg]++; count[l.Msg] == 2 && l.Omitted != map[string]int{"one": 9, "another": 9, "seldom": 59}[l.Msg] {
				t.Errorf("%+v", l)
			}
		}
		if len(count) != 3 || count["one"] != 60 || count["another"] != 60 || count["seldom"] != 10 {
			t.Errorf("%v in ten minutes, want 60, 60 and 10", count)
		}
	})
}
