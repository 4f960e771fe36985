package main

import (
	"context"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// Client calls the service over any transport.
type Client struct{ *client.Client }

// NewClient returns a client that calls through caller, the client of a transport.
func NewClient(caller client.Caller, middleware ...chassi.Middleware) (*Client, error) {
	c, err := client.New(Endpoints((*Client)(nil)), caller, middleware...)
	return &Client{c}, err
}

func (c *Client) AddTask(ctx context.Context, r *AddTaskRequest) (*Task, error) {
	return client.Invoke[Task](ctx, c.Client, "AddTask", r)
}

func (c *Client) ListTasks(ctx context.Context, r *ListTasksRequest) (*TaskList, error) {
	return client.Invoke[TaskList](ctx, c.Client, "ListTasks", r)
}

func (c *Client) CompleteTask(ctx context.Context, r *TaskRequest) (*Task, error) {
	return client.Invoke[Task](ctx, c.Client, "CompleteTask", r)
}

func (c *Client) DeleteTask(ctx context.Context, r *TaskRequest) (*DeletedTask, error) {
	return client.Invoke[DeletedTask](ctx, c.Client, "DeleteTask", r)
}
