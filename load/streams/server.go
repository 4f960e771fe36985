package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/grpcserver"
	"github.com/chassi-go/chassi/standard/natsembedded"
)

// Config is the configuration of the server.
type Config struct {
	standard.Config

	GRPC grpcserver.Config   `config:"grpc"`
	NATS natsembedded.Config `config:"nats"`
}

func program() standard.Program[Config] {
	return standard.Program[Config]{Name: "streams", Help: "Serves streams that do not end.", Setup: setup}
}

func setup(_ context.Context, app *standard.App, c *Config) error {
	grpcserver.Add(app, c.GRPC)
	natsembedded.Add(app, c.NATS)
	app.Mount(endpoints())
	return nil
}

type (
	watchRequest  struct{}
	tick          struct{ N int }
	pingRequest   struct{}
	pong          struct{ Text string }
	memoryRequest struct{}
	memory        struct{ Resident, Goroutines int64 }
)

func endpoints() *chassi.Service {
	return chassi.NewService("streams.v1.Streams",
		chassi.NewStream("Watch", watch, chassi.Route("GET /watch"), chassi.Public),
		chassi.NewEndpoint("Ping", ping, chassi.Route("GET /ping"), chassi.Public),
		chassi.NewEndpoint("Memory", measureMemory, chassi.Route("GET /memory"), chassi.Public),
	)
}

// watch returns a stream without items that ends when ctx is done, as a subscription without events
// does.
func watch(ctx context.Context, _ *watchRequest) (iter.Seq2[*tick, error], error) {
	return func(func(*tick, error) bool) { <-ctx.Done() }, nil
}

func ping(context.Context, *pingRequest) (*pong, error) { return &pong{"pong"}, nil }

// measureMemory returns the resident memory after garbage collection, in bytes, and the number of
// goroutines.
func measureMemory(context.Context, *memoryRequest) (*memory, error) {
	runtime.GC() // empties the pools, in two cycles
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return nil, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	return &memory{pages * int64(os.Getpagesize()), int64(runtime.NumGoroutine())}, err
}

// server is the process of the server under test.
type server struct {
	cmd              *exec.Cmd
	dir              string // the data directory of the server
	http, grpc, nats string // host:port
}

// startServer starts this program as a server and returns when the server is ready. The settings
// are the defaults, except for addresses, logging, shutdown, cleartext HTTP/2, and the limits that
// a single client with all streams would exceed.
func startServer(ctx context.Context) (s *server, err error) {
	s = &server{}
	if s.dir, err = os.MkdirTemp("", "streams-"); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(ctx, self, "serve", "--http.addr=127.0.0.1:0", "--http.h2c", "--http.max_connections=100000", //nolint:gosec // this program
		"--http.max_connections_per_client=100000", "--http.max_resets=100000", "--grpc.addr=127.0.0.1:0", "--grpc.max_resets=100000",
		"--nats.url=embedded", "--nats.embedded.addr=127.0.0.1:0", "--nats.embedded.credentials_dir="+s.dir, "--nats.embedded.max_connections_per_client=1000",
		"--nats.embedded.max_unanswered_per_client=100000", "--nats.embedded.response_timeout=1m", "--admin.addr=127.0.0.1:0",
		"--stream.max=100000", "--stream.max_peer=100000", "--rate_limit.peer=off", "--shutdown.drain=0s", "--log.format=json", "--log.level=info")
	s.cmd.Dir = s.dir
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = time.Minute
	log, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err = s.cmd.Start(); err == nil {
		err = s.await(log)
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// await reads the log until the server serves, stores the addresses of the server in s, and
// discards the rest of the log.
func (s *server) await(log io.Reader) error {
	last := ""
	for lines := bufio.NewScanner(log); lines.Scan(); last = lines.Text() {
		var line struct {
			Msg    string `json:"msg"`
			Server string `json:"server"`
			Addr   string `json:"addr"`
			Error  string `json:"error"`
		}
		_ = json.Unmarshal(lines.Bytes(), &line)
		switch {
		case line.Msg == "listening" && line.Server == "http":
			s.http = line.Addr
		case line.Msg == "listening" && line.Server == "grpc":
			s.grpc = line.Addr
		case line.Msg == "listening" && line.Server == "nats embedded":
			s.nats = line.Addr
		case line.Msg == "serving":
			go func() { _, _ = io.Copy(io.Discard, log) }()
			return nil
		}
	}
	return fmt.Errorf("the log of the server ended before the server was ready; its last line: %s", last)
}

func (s *server) key() string { return filepath.Join(s.dir, "default.nk") }

// stop stops the server and removes its directory.
func (s *server) stop() error {
	err := os.RemoveAll(s.dir)
	if s.cmd.Process != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		err = errors.Join(s.cmd.Wait(), err)
	}
	return err
}
