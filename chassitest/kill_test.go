package chassitest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

func TestMain(m *testing.M) {
	if settings := os.Getenv("CHASSITEST_SERVE"); settings != "" {
		if err := serveTicks(settings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

type ticksRequest struct{}

type tick struct{ N int }

// newTicks returns a service whose stream has two items, and does not end.
func newTicks() *chassi.Service {
	watch := func(ctx context.Context, _ *ticksRequest) (iter.Seq2[*tick, error], error) {
		return func(yield func(*tick, error) bool) {
			if yield(&tick{1}, nil) && yield(&tick{2}, nil) {
				<-ctx.Done()
			}
		}, nil
	}
	return chassi.NewService("ticks.v1.Ticks", chassi.NewStream("Watch", watch, chassi.Route("GET /v1/ticks"), chassi.Public))
}

// ticksServer says where the server in another process is, and how to reach it over NATS.
type ticksServer struct{ Dir, NATS, Prefix, HTTP, GRPC, Embedded string }

// serveTicks is the main function of the server's process, which is killed or ends with its
// standard input.
func serveTicks(settings string) error {
	var s ticksServer
	if err := json.Unmarshal([]byte(settings), &s); err != nil {
		return err
	}
	ctx, quiet, c := context.Background(), slog.New(slog.DiscardHandler), transport.StreamConfig{Heartbeat: 500 * time.Millisecond}
	overHTTP, err := httpapi.New(httpapi.Config{Addr: "127.0.0.1:0", Streams: c, Logger: quiet})
	if err != nil {
		return err
	}
	overGRPC := grpcapi.New(grpcapi.Config{Addr: "127.0.0.1:0", Streams: c, Logger: quiet})
	broker := embedded.New(embedded.Config{Addr: "127.0.0.1:0", CredentialsDir: s.Dir, Logger: quiet})
	transports := []chassi.Transport{overHTTP, overGRPC, natsapi.New(natsapi.Config{Broker: broker, Streams: c, Logger: quiet})}
	if s.NATS != "" {
		transports = append(transports, natsapi.New(natsapi.Config{URL: s.NATS, Prefix: s.Prefix, Streams: c, Logger: quiet}))
	}
	if err := broker.Start(ctx); err != nil {
		return err
	}
	for _, server := range transports {
		if err := server.Mount(newTicks()); err != nil {
			return err
		}
		if err := server.Start(ctx); err != nil {
			return err
		}
	}
	s.HTTP, s.GRPC, s.Embedded = overHTTP.Addr().String(), overGRPC.Addr().String(), broker.URL()
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// A stream whose server is killed never looks complete: over each transport its items arrive, and
// then an error that says that it broke off or fell silent.
func TestStreamOfKilledServer(t *testing.T) {
	t.Parallel()
	s := ticksServer{Dir: t.TempDir(), NATS: os.Getenv("CHASSI_TEST_NATS"), Prefix: "test" + strconv.FormatUint(rand.Uint64(), 36)}
	if s.NATS == "" {
		s.NATS = "nats://127.0.0.1:4222"
	}
	quiet := slog.New(slog.DiscardHandler)
	external, err := natsapi.Dial(t.Context(), natsapi.ClientConfig{URL: s.NATS, Prefix: s.Prefix, Logger: quiet})
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Errorf("NATS at CHASSI_TEST_NATS: %v", err)
		}
		t.Logf("without the NATS server at CHASSI_TEST_NATS: %v", err)
		s.NATS = ""
	}
	s, kill := startTicks(t, s)
	callers := map[string]client.Caller{}
	for name, events := range map[string]bool{"jsonl": false, "sse": true} {
		c, err := httpapi.NewClient(httpapi.ClientConfig{URL: "http://" + s.HTTP, EventStreams: events})
		must(t, err)
		t.Cleanup(c.Close)
		callers[name] = c
	}
	overGRPC, err := grpcapi.Dial(grpcapi.ClientConfig{Target: s.GRPC})
	must(t, err)
	t.Cleanup(func() { _ = overGRPC.Close() })
	callers["grpc"] = overGRPC
	overNATS, err := natsapi.Dial(t.Context(), natsapi.ClientConfig{URL: s.Embedded, Login: natsapi.Login{NkeyFile: s.Dir + "/default.nk"}, Logger: quiet})
	must(t, err)
	t.Cleanup(overNATS.Close)
	callers["nats, with its server"] = overNATS
	if s.NATS != "" {
		t.Cleanup(external.Close)
		callers["nats"] = external
	}
	received, ends := make(chan string, 10), make(map[string]chan error)
	for name, caller := range callers {
		c, err := client.New(newTicks(), caller)
		must(t, err)
		items, err := client.Stream[tick](t.Context(), c, "Watch", &ticksRequest{})
		must(t, err)
		end := make(chan error, 1)
		ends[name] = end
		go func() {
			var err error
			for item, failed := range items {
				if err = failed; err == nil && item.N == 2 {
					received <- name
				}
			}
			end <- err
		}()
	}
	for range callers {
		<-received
	}
	kill()
	for name, end := range ends {
		select {
		case err := <-end:
			if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Unavailable {
				t.Errorf("%s: the stream ended with %v", name, err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s: the stream did not end within 30 s", name)
		}
	}
}

// startTicks starts a server in a process of its own. Kill ends it as kill -9 does.
func startTicks(t *testing.T, s ticksServer) (_ ticksServer, kill func()) {
	t.Helper()
	settings, err := json.Marshal(s)
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), self)
	cmd.Env, cmd.Stderr = append(os.Environ(), "CHASSITEST_SERVE="+string(settings)), os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	must(t, err)
	must(t, json.Unmarshal(line, &s))
	return s, func() { must(t, cmd.Process.Kill()) }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
