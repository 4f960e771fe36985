package telemetry

import (
	"database/sql"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
)

var _ chassi.Component = (*Telemetry)(nil)

func scrape(t *testing.T, tel *Telemetry) string {
	t.Helper()
	r := httptest.NewRecorder()
	tel.Handler().ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if r.Code != http.StatusOK {
		t.Fatalf("/metrics says %d: %s", r.Code, r.Body)
	}
	return r.Body.String()
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	tel, _ := newTelemetry(t, Config{})
	defer tel.Stop(t.Context())
	count, err := tel.RegisterEvents("shop_events_total", "What happened.")
	if err != nil {
		t.Fatal(err)
	}
	count("sold")
	pool := func() PoolStats {
		return PoolStats{Workers: 1, Busy: 2, Queued: 3, QueueSize: 4, Submitted: 5, Completed: 6, Refused: 7, Canceled: 8, Panics: 9}
	}
	db := func() sql.DBStats {
		return sql.DBStats{MaxOpenConnections: 1, OpenConnections: 2, InUse: 3, Idle: 4, WaitCount: 5, WaitDuration: 1500 * time.Millisecond}
	}
	for _, name := range []string{"a", "b"} {
		if err := tel.RegisterPool(name, pool); err != nil {
			t.Error(err)
		}
		if err := tel.RegisterDB(name, db); err != nil {
			t.Error(err)
		}
	}
	if tel.RegisterPool("a", pool) == nil || tel.RegisterDB("a", db) == nil {
		t.Error("a second pool of one name is accepted")
	}
	got := scrape(t, tel)
	for _, want := range []string{
		`build_info{service="shop",version="1.2.3"} 1`, "go_goroutines ", "go_build_info{", "log_dropped_lines_total 0",
		`shop_events_total{event="sold"} 1`,
		`workpool_workers{pool="a"} 1`, `workpool_busy{pool="a"} 2`, `workpool_queued{pool="a"} 3`, `workpool_queue_size{pool="b"} 4`,
		`workpool_submitted_total{pool="a"} 5`, `workpool_completed_total{pool="a"} 6`, `workpool_refused_total{pool="a"} 7`,
		`workpool_canceled_total{pool="a"} 8`, `workpool_panics_total{pool="b"} 9`,
		`db_pool_max_open{pool="a"} 1`, `db_pool_open{pool="a"} 2`, `db_pool_in_use{pool="a"} 3`, `db_pool_idle{pool="a"} 4`,
		`db_pool_waits_total{pool="a"} 5`, `db_pool_wait_seconds_total{pool="b"} 1.5`,
	} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// Two instances in one process are independent.
func TestNoGlobalState(t *testing.T) {
	t.Parallel()
	one, _ := newTelemetry(t, Config{})
	two, w := newTelemetry(t, Config{})
	one.Level.Set(12)
	one.Stop(t.Context())
	two.Logger.Info("two")
	two.Stop(t.Context())
	if !strings.Contains(w.String(), "two") {
		t.Error("the second one's log went silent with the first one")
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, out := range []io.Writer{file, null, io.Discard} {
		if isTerminal(out) {
			t.Errorf("%v is taken for a terminal", out)
		}
	}
	for _, format := range []string{"", "auto", "json", "text"} {
		w := newWriter()
		close(w.opened)
		tel, err := New(t.Context(), "shop", "1", Config{Log: LogConfig{Format: format}}, w)
		if err != nil {
			t.Fatal(err)
		}
		tel.Logger.Info("hello there", "n", 1)
		tel.Stop(t.Context())
		if isText := strings.HasSuffix(w.String(), "INF hello there service=shop n=1\n"); isText != (format == "text") {
			t.Errorf("format %q writes %q", format, w)
		}
	}
}

func TestStopTwiceAndWithoutStart(t *testing.T) {
	t.Parallel()
	tel, _ := newTelemetry(t, Config{Sentry: SentryConfig{DSN: "http://k@127.0.0.1:1/1"}, Trace: TraceConfig{Exporter: exportHTTP}})
	stopInTime(t, tel)
	stopInTime(t, tel)
}
