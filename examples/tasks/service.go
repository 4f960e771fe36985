package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
)

// tasks implements [Service]. It stores tasks in a database.
type tasks struct {
	db    *database.DB
	count func(event string) // counts events in a metric
	keep  time.Duration      // how long completed tasks are kept

	// span starts a span and returns the function that ends it.
	span func(ctx context.Context, name string) (context.Context, func())
}

func (t *tasks) AddTask(ctx context.Context, r *AddTaskRequest) (*Task, error) {
	task := &Task{ID: rand.Text(), Title: r.Title, Owner: chassi.PrincipalFrom(ctx).Name, Created: now()}
	_, err := t.db.Exec(ctx, "INSERT INTO tasks (id, title, owner, created_at) VALUES ($1, $2, $3, $4)",
		task.ID, task.Title, task.Owner, task.Created.UnixMicro())
	if database.IsUnique(err) {
		return nil, ErrDuplicate.WithCause(err)
	}
	if err != nil {
		return nil, fmt.Errorf("add a task: %w", err)
	}
	t.count("added")
	return task, nil
}

func (t *tasks) ListTasks(ctx context.Context, r *ListTasksRequest) (*TaskList, error) {
	limit := cmp.Or(r.Limit, 20)
	rows, err := t.db.Query(ctx, `SELECT id, title, owner, created_at, done_at FROM tasks
		WHERE id > $1 AND ($2 = '' OR ($2 = 'done') = (done_at IS NOT NULL)) ORDER BY id LIMIT $3`,
		r.After, r.State, limit+1)
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	defer rows.Close()
	list := &TaskList{Tasks: []*Task{}}
	for rows.Next() {
		task, err := scan(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list tasks: %w", err)
		}
		if len(list.Tasks) == limit {
			list.Next = list.Tasks[limit-1].ID
			break
		}
		list.Tasks = append(list.Tasks, task)
	}
	return list, rows.Err()
}

func (t *tasks) CompleteTask(ctx context.Context, r *TaskRequest) (task *Task, err error) {
	err = t.db.Write(ctx, func(ctx context.Context, tx *database.Tx) (err error) {
		if task, err = find(ctx, tx, r.ID); err != nil {
			return err
		}
		if task.Done != nil {
			return ErrCompleted.WithDetails(Completed{At: *task.Done})
		}
		done := now()
		task.Done = &done
		_, err = tx.Exec(ctx, "UPDATE tasks SET done_at = $1 WHERE id = $2", done.UnixMicro(), r.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.count("completed")
	return task, nil
}

func (t *tasks) DeleteTask(ctx context.Context, r *TaskRequest) (*DeletedTask, error) {
	deleted, err := t.db.Exec(ctx, "DELETE FROM tasks WHERE id = $1", r.ID)
	if err != nil {
		return nil, fmt.Errorf("delete a task: %w", err)
	}
	if deleted == 0 {
		return nil, ErrUnknown
	}
	t.count("deleted")
	return &DeletedTask{}, nil
}

// find returns the task with the given ID, or ErrUnknown. The argument q is either a transaction or
// the database.
func find(ctx context.Context, q database.Querier, id string) (*Task, error) {
	row := q.QueryRow(ctx, "SELECT id, title, owner, created_at, done_at FROM tasks WHERE id = $1", id)
	task, err := scan(row.Scan)
	if errors.Is(err, database.ErrNotFound) {
		return nil, ErrUnknown
	}
	return task, err
}

func scan(columns func(dest ...any) error) (*Task, error) {
	var task Task
	var created int64
	var done *int64
	if err := columns(&task.ID, &task.Title, &task.Owner, &created, &done); err != nil {
		return nil, err
	}
	task.Created = time.UnixMicro(created).UTC()
	if done != nil {
		at := time.UnixMicro(*done).UTC()
		task.Done = &at
	}
	return &task, nil
}

// purge deletes, every minute until ctx is done or an error occurs, the tasks that were completed
// more than t.keep ago.
func (t *tasks) purge(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := t.deleteOld(ctx); err != nil {
				return err
			}
		}
	}
}

func (t *tasks) deleteOld(ctx context.Context) error {
	ctx, end := t.span(ctx, "purge")
	defer end()
	_, err := t.db.Exec(ctx, "DELETE FROM tasks WHERE done_at < $1", now().Add(-t.keep).UnixMicro())
	return err
}

// now returns the current time at the resolution of the database, which is a microsecond.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
