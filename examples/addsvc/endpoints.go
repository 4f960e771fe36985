package main

import (
	"context"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// Endpoints returns the endpoints of the service for every transport, with their paths, rate limits
// and errors. The endpoints call the methods of s.
func Endpoints(s Service) *chassi.Service {
	return chassi.NewService("pb.Add",
		chassi.NewEndpoint("Sum", s.Sum, chassi.Route("POST /sum"), chassi.Public,
			chassi.RateLimit(1, time.Second), chassi.Errors(ErrTwoZeroes, ErrIntOverflow)),
		chassi.NewEndpoint("Concat", s.Concat, chassi.Route("POST /concat"), chassi.Public,
			chassi.RateLimit(100, 100*time.Second), chassi.Errors(ErrMaxSizeExceeded)),
	)
}

// Client calls the service over any transport.
type Client struct{ *client.Client }

func NewClient(caller client.Caller) (*Client, error) {
	c, err := client.New(Endpoints((*Client)(nil)), caller)
	return &Client{c}, err
}

func (c *Client) Sum(ctx context.Context, r *SumRequest) (*SumReply, error) {
	return client.Invoke[SumReply](ctx, c.Client, "Sum", r)
}

func (c *Client) Concat(ctx context.Context, r *ConcatRequest) (*ConcatReply, error) {
	return client.Invoke[ConcatReply](ctx, c.Client, "Concat", r)
}
