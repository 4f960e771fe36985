package httpapi_test

import (
	"log/slog"
	"net"
	"testing"

	"github.com/chassi-go/chassi/transport/httpapi"
)

// A Start that failed leaves nothing, and can be repeated.
func TestStartCanBeRepeated(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := httpapi.New(httpapi.Config{Addr: taken.Addr().String(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Start(t.Context()); err == nil {
			t.Fatal("two listeners on one address")
		}
	}
	taken.Close()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
