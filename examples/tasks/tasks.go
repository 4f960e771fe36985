package main

import (
	"context"
	"net/http"
	"time"

	"github.com/chassi-go/chassi"
)

// Requests and responses of the service.
type (
	// Task is something to do.
	Task struct {
		ID      string     `json:"id"`
		Title   string     `json:"title"`
		Owner   string     `json:"owner" doc:"the principal that added the task"`
		Created time.Time  `json:"created_at"`
		Done    *time.Time `json:"done_at,omitempty" doc:"absent while the task is open"`
	}
	// AddTaskRequest adds a task.
	AddTaskRequest struct {
		Title string `json:"title" validate:"required,max=200"`
	}
	// ListTasksRequest requests a page of tasks in the order of their IDs.
	ListTasksRequest struct {
		State string `json:"state" query:"state" validate:"omitempty,oneof=open done"`
		After string `json:"after" query:"after" doc:"the identifier that the page begins after"`
		Limit int    `json:"limit" query:"limit" validate:"omitempty,min=1,max=100" doc:"default 20"`
	}
	// TaskList is a page of tasks.
	TaskList struct {
		Tasks []*Task `json:"tasks"`
		Next  string  `json:"next,omitempty" doc:"the parameter after of the next page, absent on the last one"`
	}
	// TaskRequest identifies a task.
	TaskRequest struct {
		ID string `json:"id" path:"id" validate:"required,max=40"`
	}
	// DeletedTask is the response to a deletion.
	DeletedTask struct{}
)

// Completed is a detail of [ErrCompleted]. It contains the time at which the task was completed.
type Completed struct {
	At time.Time `json:"at"`
}

// DetailName returns the full name of the Protocol Buffers message.
func (Completed) DetailName() string { return "tasks.v1.Completed" }

// Errors of the service.
var (
	ErrUnknown   = chassi.NewError(chassi.NotFound, "unknown_task", "There is no such task")
	ErrDuplicate = chassi.NewError(chassi.AlreadyExists, "duplicate_title", "A task with this title already exists")
	ErrCompleted = chassi.NewError(chassi.FailedPrecondition, "already_completed", "The task is completed").WithDetails(Completed{})
)

// Permissions of principals.
const (
	CanRead  = "tasks.read"
	CanWrite = "tasks.write"
)

// Service is the interface of the service. The server and [Client] implement it.
type Service interface {
	AddTask(ctx context.Context, r *AddTaskRequest) (*Task, error)
	ListTasks(ctx context.Context, r *ListTasksRequest) (*TaskList, error)
	CompleteTask(ctx context.Context, r *TaskRequest) (*Task, error)
	DeleteTask(ctx context.Context, r *TaskRequest) (*DeletedTask, error)
}

// Endpoints returns the description of the service for all transports and schema documents. Calls
// of DeleteTask pass through audit.
func Endpoints(s Service, audit ...chassi.Middleware) *chassi.Service {
	return chassi.NewService("tasks.v1.Tasks",
		chassi.NewEndpoint("AddTask", s.AddTask, chassi.Route("POST /v1/tasks"), chassi.Status(http.StatusCreated),
			chassi.Requires(CanWrite), chassi.RateLimit(100, time.Minute), chassi.Errors(ErrDuplicate)),
		chassi.NewEndpoint("ListTasks", s.ListTasks, chassi.Route("GET /v1/tasks"),
			chassi.Requires(CanRead), chassi.Idempotent),
		chassi.NewEndpoint("CompleteTask", s.CompleteTask, chassi.Route("POST /v1/tasks/{id}/complete"),
			chassi.Requires(CanWrite), chassi.Errors(ErrUnknown, ErrCompleted)),
		chassi.NewEndpoint("DeleteTask", s.DeleteTask, chassi.Route("DELETE /v1/tasks/{id}"),
			chassi.Requires(CanWrite), chassi.With(audit...), chassi.Errors(ErrUnknown)),
	)
}
