package main

import (
	"testing"

	"github.com/chassi-go/chassi/chassitest"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/contracttest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHello(t *testing.T) {
	t.Parallel()
	chassitest.Everywhere(t, endpoints, func(t *testing.T, caller client.Caller) {
		t.Helper()
		c, err := client.New(endpoints(), caller)
		if err != nil {
			t.Fatal(err)
		}
		greeting, err := client.Invoke[Greeting](t.Context(), c, "Hello", &HelloRequest{Name: "Ada"})
		if err != nil || greeting.Text != "Hello, Ada!" {
			t.Errorf("%+v, %v", greeting, err)
		}
	})
}

func TestContracts(t *testing.T) {
	t.Parallel()
	contracttest.Write(t, "hello", endpoints())
}
