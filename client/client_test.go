package client_test

import (
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// A method that the service does not have, types of another endpoint and a missing
// request are errors that say so.
func TestInvokeRefuses(t *testing.T) {
	t.Parallel()
	r := open(t, client.Policy{}, takes(0), "a:1")
	_, unknown := client.Invoke[answer](t.Context(), r.Client, "Wipe", &question{})
	_, request := client.Invoke[answer](t.Context(), r.Client, "Read", &answer{})
	_, response := client.Invoke[question](t.Context(), r.Client, "Read", &question{})
	_, missing := client.Invoke[answer, question](t.Context(), r.Client, "Read", nil)
	_, invoke := client.Stream[answer](t.Context(), r.Client, "Read", &question{})
	_, item := client.Stream[question](t.Context(), r.Client, "Watch", &question{})
	for says, err := range map[string]error{
		"test.v1.Test/Read is not a stream: call Invoke":                                   invoke,
		"and yields client_test.answer, not client_test.question and client_test.question": item,
		"service test.v1.Test has no method Wipe":                                          unknown,
		"not client_test.answer and client_test.answer":                                    request,
		"not client_test.question and client_test.question":                                response,
		"The request is missing":                                                           missing,
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func TestNewRefusesANilMiddleware(t *testing.T) {
	t.Parallel()
	r := open(t, client.Policy{}, takes(0))
	var none chassi.Middleware
	if _, err := client.New(service(), r.cluster, none); err == nil || !strings.Contains(err.Error(), "nil middleware") {
		t.Error(err)
	}
}
