package main

import (
	"errors"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/chassitest"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/contracttest"
	"github.com/chassi-go/chassi/schema/protobuf"
)

func TestAddsvc(t *testing.T) {
	t.Parallel()
	chassitest.Everywhere(t, func() *chassi.Service { return Endpoints(basicService{}) }, func(t *testing.T, caller client.Caller) {
		var s Service
		s, err := NewClient(caller)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := s.Sum(t.Context(), &SumRequest{A: 1, B: 2}); err != nil || r.V != 3 {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err := s.Concat(t.Context(), &ConcatRequest{A: "a", B: "b"}); err != nil || r.V != "ab" {
			t.Errorf("%+v, %v", r, err)
		}
		for want, call := range map[*chassi.Error]func() error{
			ErrTwoZeroes:       func() error { _, err := s.Sum(t.Context(), &SumRequest{}); return err },
			ErrIntOverflow:     func() error { _, err := s.Sum(t.Context(), &SumRequest{A: intMax, B: 1}); return err },
			ErrMaxSizeExceeded: func() error { _, err := s.Concat(t.Context(), &ConcatRequest{A: "123456", B: "123456"}); return err },
		} {
			if err := call(); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
	})
}

// The .proto file of go-kit's example still describes the requests: its clients
// can call.
func TestTheWireIsThatOfGoKit(t *testing.T) {
	t.Parallel()
	file, err := protobuf.File(Endpoints(basicService{}))
	if err != nil {
		t.Fatal(err)
	}
	if file.GetPackage() != "pb" || file.GetService()[0].GetName() != "Add" || file.GetMessageType()[0].GetField()[1].GetNumber() != 2 || file.GetMessageType()[1].GetName() != "SumReply" {
		t.Error(protobuf.Text(file))
	}
}

func TestContracts(t *testing.T) {
	t.Parallel()
	contracttest.Write(t, "addsvc", Endpoints(basicService{}))
}
