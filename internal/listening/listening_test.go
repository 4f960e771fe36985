package listening_test

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/chassi-go/chassi/internal/listening"
)

func TestAdvice(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for addr, want := range map[string]string{
		taken.Addr().String(): "stop the program that listens there",
		"192.0.2.1:0":         "use an address of this machine", // RFC 5737: of no machine
		"a..b:0":              "correct the host",               // not a name, so nothing is looked up
		"127.0.0.1:70000":     "choose another address",
	} {
		_, err := net.Listen("tcp", addr)
		if got := listening.Advice(err); !strings.HasPrefix(got, want) && !strings.HasSuffix(got, want) {
			t.Errorf("%s: %v: %s, want %s", addr, err, got, want)
		}
	}
	denied := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}
	if got := listening.Advice(denied); !strings.HasPrefix(got, "use a port of at least 1024") {
		t.Errorf("%v: %s", denied, got)
	}
}
