package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/chassi-go/chassi/internal/contracttest"
	"github.com/chassi-go/chassi/internal/disctest"
)

// asProgram makes the test binary be notes, or a NATS server, so that tests have
// processes of their own to kill.
const (
	asProgram = "NOTESTEST_AS"
	nameAt    = "NOTESTEST_DNS" // the name server of such a process
)

// authdDir is where authd is built.
var authdDir string

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "notes":
		if addr := os.Getenv(nameAt); addr != "" {
			net.DefaultResolver = disctest.Resolver(addr)
		}
		program().Main()
	case "broker":
		runBroker(os.Args[1])
	}
	var err error
	if authdDir, err = os.MkdirTemp("", "notes"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(authdDir)
		os.Exit(code)
	}))
}

// runBroker is a NATS server until it is killed.
func runBroker(addr string) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err == nil {
		var s *server.Server
		if s, err = server.NewServer(&server.Options{Host: tcp.IP.String(), Port: tcp.Port, NoSigs: true}); err == nil {
			s.Start()
			fmt.Fprintf(os.Stderr, `{"msg":"listening","server":"broker","addr":%q}`+"\n", s.Addr())
			s.WaitForShutdown()
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// buildAuthd makes the real thing, once.
var buildAuthd = sync.OnceValues(func() (string, error) {
	// Looking at them lets go test know: a cached result is of no use when they change.
	for _, dir := range []string{"cmd/authd", "auth/service", "auth/store"} {
		files, _ := filepath.Glob("../../" + dir + "/*.go")
		for _, f := range files {
			if _, err := os.Stat(f); err != nil {
				return "", err
			}
		}
	}
	file := filepath.Join(authdDir, "authd")
	build := exec.Command("go", "build", "-trimpath", "-tags", "grpcnotrace", "-o", file, "../../cmd/authd") // as make build does
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build authd: %w: %s", err, out)
	}
	return file, err
})

// environ is this process's without what would set up the programs.
func environ(extra ...string) []string {
	var pairs []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "AUTHD_") && !strings.HasPrefix(pair, "NOTES_") {
			pairs = append(pairs, pair)
		}
	}
	return append(pairs, extra...)
}

func TestContracts(t *testing.T) {
	t.Parallel()
	contracttest.Write(t, "notes", Endpoints(&notebook{}))
}
