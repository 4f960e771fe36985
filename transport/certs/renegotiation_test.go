package certs

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/certtest"
)

// Fault 27: who asks to negotiate a TLS 1.2 connection again is refused, and the
// connection ends. TLS 1.3 knows no such thing.
func TestRenegotiationFault27(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl, the only client at hand that asks for renegotiation: install it")
	}
	ca := certtest.Issue(t, "ca", nil, tomorrow())
	c, _ := mustCertificates(t, install(t, ca, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client := exec.CommandContext(ctx, openssl, "s_client", "-tls1_2", "-alpn", "http/1.1", "-connect", serveTLS(t, c))
	in, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "R\n"); err != nil { // the command for it
		t.Fatal(err)
	}
	said, err := client.CombinedOutput()
	if err == nil || !strings.Contains(string(said), "RENEGOTIATING") || !strings.Contains(string(said), "alert") {
		t.Errorf("%v, %s", err, said)
	}
}
