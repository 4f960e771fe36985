package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/chassitest"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/contracttest"
)

// One test of the service, written against its interface, in process and over
// every transport.
func TestQuotes(t *testing.T) {
	t.Parallel()
	newService := func() *chassi.Service {
		return Endpoints(quotes{"ada": "patterns", "grace": "One accurate measurement"})
	}
	chassitest.Everywhere(t, newService, func(t *testing.T, caller client.Caller) {
		var s Service
		s, err := NewClient(caller)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := s.Quote(t.Context(), &QuoteRequest{Author: "ada"}); err != nil || q.Text != "patterns" {
			t.Errorf("%+v, %v", q, err)
		}
		if _, err := s.Quote(t.Context(), &QuoteRequest{Author: "nobody"}); !errors.Is(err, ErrUnknownAuthor) {
			t.Errorf("%v", err)
		}
		if _, err := s.Quote(t.Context(), &QuoteRequest{}); chassi.ErrorOf(err).Code != chassi.InvalidArgument {
			t.Errorf("%v", err)
		}
		if strings.HasSuffix(t.Name(), "/amqp") {
			return // carries no streams
		}
		words, err := s.Words(t.Context(), &WordsRequest{Author: "grace", After: "1"})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for word, err := range words {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, word.Text)
		}
		if !slices.Equal(got, []string{"accurate", "measurement"}) {
			t.Errorf("%q", got)
		}
		if _, err := s.Words(t.Context(), &WordsRequest{Author: "nobody"}); !errors.Is(err, ErrUnknownAuthor) {
			t.Errorf("%v", err)
		}
	})
}

func TestContracts(t *testing.T) {
	t.Parallel()
	contracttest.Write(t, "quotes", Endpoints(quotes{}))
}
