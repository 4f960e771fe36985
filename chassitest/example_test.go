package chassitest_test

import (
	"context"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/chassitest"
	"github.com/chassi-go/chassi/client"
)

type greetRequest struct {
	Name string `json:"name"`
}

type greeting struct {
	Text string `json:"text"`
}

func greet(_ context.Context, r *greetRequest) (*greeting, error) {
	return &greeting{Text: "Hello, " + r.Name}, nil
}

func newGreeter() *chassi.Service {
	return chassi.NewService("greet.v1.Greeter", chassi.NewEndpoint("Greet", greet, chassi.Route("POST /v1/greet"), chassi.Public))
}

func testGreeter(t *testing.T) {
	chassitest.Everywhere(t, newGreeter, func(t *testing.T, caller client.Caller) {
		c, err := client.New(newGreeter(), caller)
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.Invoke[greeting](t.Context(), c, "Greet", &greetRequest{Name: "Ada"})
		if err != nil || got.Text != "Hello, Ada" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// The test of a service over every transport: in the same process, over HTTP, gRPC and NATS, and
// over AMQP if CHASSI_TEST_AMQP has the URL of a server.
func ExampleEverywhere() {
	var t *testing.T // the parameter of the test function
	chassitest.Everywhere(t, newGreeter, func(t *testing.T, caller client.Caller) {
		c, err := client.New(newGreeter(), caller)
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.Invoke[greeting](t.Context(), c, "Greet", &greetRequest{Name: "Ada"})
		if err != nil || got.Text != "Hello, Ada" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestEverywhere(t *testing.T) {
	t.Parallel()
	testGreeter(t)
}
