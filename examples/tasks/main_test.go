package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/chassitest"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/contracttest"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/standard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns the service over a database of the test's own.
func open(t *testing.T, url string) *tasks {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Migrate(t.Context(), migrations); err != nil {
		t.Fatal(err)
	}
	noSpan := func(ctx context.Context, _ string) (context.Context, func()) { return ctx, func() {} }
	return &tasks{db: db, count: func(string) {}, keep: time.Hour, span: noSpan}
}

// as makes every call one of a principal with these permissions.
func as(permissions ...string) chassi.Middleware {
	principal := &chassi.Principal{Subject: "ada", Name: "ada", Permissions: permissions}
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			call.Principal = principal
			return next(ctx, call)
		}
	}
}

// The service does the same in process and over every transport, on both databases.
func TestTasks(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		svc := open(t, url)
		chassitest.Everywhere(t, func() *chassi.Service { return Endpoints(svc) }, func(t *testing.T, caller client.Caller) {
			c, err := NewClient(caller)
			if err != nil {
				t.Fatal(err)
			}
			testTasks(t, c, t.Name())
		}, as(CanRead, CanWrite))
	})
}

// The audit names who made a call, also of a public endpoint, and leaves out a call that failed.
func TestAudit(t *testing.T) {
	t.Parallel()
	b := &chassi.Binding{Endpoint: chassi.NewEndpoint("Get", func(context.Context, *struct{}) (*struct{}, error) { return &struct{}{}, nil }, chassi.Public)}
	for _, c := range []struct {
		principal *chassi.Principal
		err       error
		want      string
	}{
		{principal: &chassi.Principal{Name: "ada"}, want: "principal=ada"},
		{want: "principal=anonymous"},
		{err: ErrUnknown},
	} {
		var log strings.Builder
		handle := audit(slog.New(slog.NewTextHandler(&log, nil)))(b, func(context.Context, *chassi.Call) error { return c.err })
		err := handle(t.Context(), &chassi.Call{Principal: c.principal})
		if !errors.Is(err, c.err) || !strings.Contains(log.String(), c.want) || (c.want == "") != (log.Len() == 0) {
			t.Errorf("%v: %v, %s", c.principal, err, log.String())
		}
	}
}

func testTasks(t *testing.T, s Service, title string) {
	t.Helper()
	ctx := t.Context()
	task, err := s.AddTask(ctx, &AddTaskRequest{Title: title})
	if err != nil || task.Title != title || task.Owner != "ada" || task.Done != nil {
		t.Fatalf("%+v, %v", task, err)
	}
	if _, err := s.AddTask(ctx, &AddTaskRequest{Title: title}); !errors.Is(err, ErrDuplicate) {
		t.Errorf("the same title: %v", err)
	}
	if _, err := s.AddTask(ctx, &AddTaskRequest{}); chassi.ErrorOf(err).Code != chassi.InvalidArgument {
		t.Errorf("no title: %v", err)
	}
	done, err := s.CompleteTask(ctx, &TaskRequest{ID: task.ID})
	if err != nil || done.Done == nil {
		t.Fatalf("%+v, %v", done, err)
	}
	_, err = s.CompleteTask(ctx, &TaskRequest{ID: task.ID})
	if detail, ok := chassi.DetailOf[Completed](err); !errors.Is(err, ErrCompleted) || !ok || !detail.At.Equal(*done.Done) {
		t.Errorf("completed twice: %v, %v", err, detail)
	}
	list, err := s.ListTasks(ctx, &ListTasksRequest{State: "done", Limit: 100})
	if err != nil || !strings.Contains(titles(list), title+"\n") {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := s.DeleteTask(ctx, &TaskRequest{ID: task.ID}); err != nil {
		t.Error(err)
	}
	if _, err := s.DeleteTask(ctx, &TaskRequest{ID: task.ID}); !errors.Is(err, ErrUnknown) {
		t.Errorf("deleted twice: %v", err)
	}
}

func titles(list *TaskList) string {
	var text strings.Builder
	for _, task := range list.Tasks {
		text.WriteString(task.Title + "\n")
	}
	return text.String()
}

// Pages follow each other without a gap, and completed tasks are deleted when they are old.
func TestPagesAndPurge(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		svc := open(t, url)
		var seen []*Task
		ctx := (&chassi.Call{Principal: &chassi.Principal{Name: "ada"}}).Context(t.Context())
		for _, title := range []string{"a", "b", "c"} {
			task, err := svc.AddTask(ctx, &AddTaskRequest{Title: title})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := svc.CompleteTask(ctx, &TaskRequest{ID: task.ID}); err != nil {
				t.Fatal(err)
			}
		}
		for after := ""; ; {
			list, err := svc.ListTasks(ctx, &ListTasksRequest{After: after, Limit: 2})
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, list.Tasks...)
			if after = list.Next; after == "" {
				break
			}
		}
		if len(seen) != 3 {
			t.Errorf("the pages have %d tasks", len(seen))
		}
		svc.keep = -time.Hour
		if err := svc.deleteOld(ctx); err != nil {
			t.Fatal(err)
		}
		if list, err := svc.ListTasks(ctx, &ListTasksRequest{}); err != nil || len(list.Tasks) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

const reader, writer = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"

// start runs the program and returns its address over HTTP.
func start(t *testing.T, args ...string) string {
	t.Helper()
	cfg := program().Defaults
	args = append(args, "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=127.0.0.1:0", "--shutdown.drain=0s",
		"--database.url="+dbtest.SQLite(t), "--keys.reader="+reader, "--keys.writer="+writer)
	if _, err := config.Load(&cfg, config.Options{Name: "tasks", Args: args}); err != nil {
		t.Fatal(err)
	}
	app, err := standard.New(t.Context(), "tasks", "1.0.0", cfg.Config, standard.Options{Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if err := setup(t.Context(), app, &cfg); err != nil {
		t.Fatal(errors.Join(err, app.Close()))
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- app.Run(ctx) }()
	select {
	case <-app.Started():
	case err := <-result:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-result; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return "http://" + app.HTTP.Addr().String()
}

// Keys, permissions, validation and the layer read_only of the whole program.
func TestProgram(t *testing.T) {
	t.Parallel()
	url, readOnly := start(t), start(t, "--read_only")
	for _, c := range []struct {
		key, method, url, body string
		status                 int
	}{
		{"", "GET", url + "/v1/tasks", "", 401},
		{"guess", "GET", url + "/v1/tasks", "", 401},
		{reader, "GET", url + "/v1/tasks?state=open", "", 200},
		{reader, "GET", url + "/v1/tasks?state=lost", "", 400},
		{reader, "POST", url + "/v1/tasks", `{"title":"a"}`, 403},
		{writer, "POST", url + "/v1/tasks", `{"title":"a"}`, 201},
		{writer, "DELETE", url + "/v1/tasks/none", "", 404},
		{writer, "POST", readOnly + "/v1/tasks", `{"title":"a"}`, 503},
		{writer, "GET", readOnly + "/v1/tasks", "", 200},
		{"", "GET", url + "/openapi.json", "", 200},
		{"", "GET", url + "/docs", "", 200},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, c.url, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		if c.key != "" {
			request.Header.Set("X-Api-Key", c.key)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != c.status {
			t.Errorf("%s %s: %d %s", c.method, c.url, response.StatusCode, text)
		}
	}
}

func TestWeakKeysAreRefused(t *testing.T) {
	t.Parallel()
	var stderr strings.Builder
	if code := program().Run(t.Context(), []string{"config", "--keys.writer=secret"}, nil, nil, io.Discard, &stderr); code != standard.ExitUsage || !strings.Contains(stderr.String(), "keys.writer must have") {
		t.Errorf("%d %s", code, stderr.String())
	}
}

func TestContracts(t *testing.T) {
	t.Parallel()
	contracttest.Write(t, "tasks", Endpoints((*Client)(nil)))
}
