package main

import (
	"context"

	"github.com/chassi-go/chassi"
)

type (
	SumRequest struct {
		A int `json:"a"`
		B int `json:"b"`
	}
	SumReply struct {
		V int `json:"v"`
	}
	ConcatRequest struct {
		A string `json:"a"`
		B string `json:"b"`
	}
	ConcatReply struct {
		V string `json:"v"`
	}
)

var (
	ErrTwoZeroes       = chassi.NewError(chassi.InvalidArgument, "two_zeroes", "Two zeroes cannot be summed")
	ErrIntOverflow     = chassi.NewError(chassi.OutOfRange, "int_overflow", "The sum does not fit in 32 bits")
	ErrMaxSizeExceeded = chassi.NewError(chassi.InvalidArgument, "max_size_exceeded", "The result has more than 10 bytes")
)

const (
	intMax = 1<<31 - 1
	intMin = -(intMax + 1)
	maxLen = 10
)

// Service adds numbers and concatenates strings.
type Service interface {
	Sum(ctx context.Context, r *SumRequest) (*SumReply, error)
	Concat(ctx context.Context, r *ConcatRequest) (*ConcatReply, error)
}

type basicService struct{}

func (basicService) Sum(_ context.Context, r *SumRequest) (*SumReply, error) {
	if r.A == 0 && r.B == 0 {
		return nil, ErrTwoZeroes
	}
	if r.B > 0 && r.A > intMax-r.B || r.B < 0 && r.A < intMin-r.B {
		return nil, ErrIntOverflow
	}
	return &SumReply{V: r.A + r.B}, nil
}

func (basicService) Concat(_ context.Context, r *ConcatRequest) (*ConcatReply, error) {
	if len(r.A)+len(r.B) > maxLen {
		return nil, ErrMaxSizeExceeded
	}
	return &ConcatReply{V: r.A + r.B}, nil
}
