// Package tasks contains the commands and metrics that programs with events and programs with jobs
// have in common.
package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
	"github.com/chassi-go/chassi/standard"
)

// Run is the function of a command that uses an existing database.
type Run[C any] func(context.Context, *standard.Invocation[C], *database.DB) error

// Command returns a command that calls run with an existing database. The function config returns
// the configuration of the database, whose settings must be in the group "database".
func Command[C any](config func(*C) database.Config, name, args, help string, run Run[C]) standard.Command[C] {
	return standard.Command[C]{
		Name: name, Args: args, Settings: "database", Help: help,
		Run: func(ctx context.Context, i *standard.Invocation[C]) error {
			db, err := database.OpenExisting(ctx, config(i.Config))
			if err != nil {
				return err
			}
			return errors.Join(explain(run(ctx, i, db)), db.Close())
		},
	}
}

// explain returns err. If err means that the database lacks tables of events and jobs, explain adds
// an explanation and advice.
func explain(err error) error {
	if err != nil && (strings.Contains(err.Error(), "no such table: chassi_") || strings.Contains(err.Error(), "SQLSTATE 42P01")) {
		return fmt.Errorf("the database lacks tables of events and jobs: %w; check database.url, or start the program once to create the tables", err)
	}
	return err
}

// Commands returns the commands that list, show, redrive and discard dead letters. The argument
// group is the first word of their names, "events" or "jobs".
func Commands[C any](group string, config func(*C) database.Config) []standard.Command[C] {
	command := func(name, args, help string, run Run[C]) standard.Command[C] {
		return Command(config, group+" dead "+name, args, help, run)
	}
	const selected = ": IDs with commas between, a subscription, job/NAME, or all"
	return []standard.Command[C]{
		command("list", "[QUEUE]", "list events and jobs that failed for good", list[C]),
		command("show", "ID", "print a dead letter as JSON", show[C]),
		command("redrive", "SELECTION", "try dead letters again"+selected, change[C](task.Redrive, "redrove")),
		command("discard", "SELECTION", "delete dead letters"+selected, change[C](task.Discard, "discarded")),
	}
}

func change[C any](do func(context.Context, *database.DB, task.Selection) (int, error), done string) Run[C] {
	return func(ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
		s, err := selection(i.Args[0])
		if err != nil {
			return err
		}
		n, err := do(ctx, db, s)
		if err == nil && n < len(s.IDs) {
			err = fmt.Errorf("only %d of the %d IDs belong to dead letters", n, len(s.IDs))
		}
		if err == nil && n == 0 && s.Queue != "" {
			return fmt.Errorf("queue %q has no dead letters; the queue of a job is named job/NAME", s.Queue)
		}
		_, printErr := fmt.Fprintf(i.Out, "%s %d dead letters\n", done, n)
		return errors.Join(err, printErr)
	}
}

// selection parses the argument of redrive and discard, which selects dead letters.
func selection(arg string) (s task.Selection, err error) {
	switch arg {
	case "": // would select all
		return s, standard.UsageError{Err: errors.New("the selection is empty: want comma-separated IDs, a subscription, job/NAME, or all")}
	case "all":
		return s, nil
	}
	if strings.Trim(arg, "0123456789,") == "" {
		for word := range strings.SplitSeq(arg, ",") {
			id, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return s, standard.UsageError{Err: fmt.Errorf("%q in the selection %q is not an ID: want comma-separated IDs", word, arg)}
			}
			s.IDs = append(s.IDs, id)
		}
		slices.Sort(s.IDs)
		s.IDs = slices.Compact(s.IDs)
		return s, nil
	}
	s.Queue = arg
	return s, nil
}

// maxCell is the maximum number of characters of an error in a list.
const maxCell = 80

// Cell returns text as one line of at most maxCell characters, for a cell of a table.
func Cell(text string) string {
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) > maxCell {
		line = append(line[:maxCell-1], '…')
	}
	return string(line)
}

func list[C any](ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
	var s task.Selection
	if len(i.Args) > 0 {
		s.Queue = i.Args[0]
	}
	w := tabwriter.NewWriter(i.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tQUEUE\tKEY\tTRIES\tDIED\tREASON\tERROR")
	for {
		letters, err := task.DeadLetters(ctx, db, s)
		if err != nil {
			return err
		}
		for _, d := range letters {
			fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\t%s\n", d.ID, d.Queue, strconv.Quote(d.Key), d.Tries, d.Died.Format(time.RFC3339), d.Reason, Cell(d.Error))
		}
		if len(letters) == 0 {
			return w.Flush()
		}
		s.After = letters[len(letters)-1].ID
	}
}

func show[C any](ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
	id, err := strconv.ParseInt(i.Args[0], 10, 64)
	if err != nil {
		return standard.UsageError{Err: fmt.Errorf("%q is not the ID of a dead letter", i.Args[0])}
	}
	letters, err := task.DeadLetters(ctx, db, task.Selection{IDs: []int64{id}})
	if err == nil && len(letters) == 0 {
		err = fmt.Errorf("there is no dead letter %d", id)
	}
	if err != nil {
		return err
	}
	d := letters[0]
	headers := make(map[string]string)
	for _, p := range d.Headers {
		headers[p.Key] = p.Value
	}
	var body any = d.Body
	switch {
	case json.Valid(d.Body):
		body = json.RawMessage(d.Body)
	case utf8.Valid(d.Body):
		body = string(d.Body)
	}
	text, err := json.MarshalIndent(map[string]any{
		"id": d.ID, "queue": d.Queue, "event": d.UID, "key": d.Key, "holds_key": d.Hold, "unique_key": d.Unique, "tries": d.Tries, "lost_leases": d.Lost,
		"code": d.Code, "reason": d.Reason, "error": d.Error, "created": d.Created, "died": d.Died, "headers": headers, "body": body,
	}, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(i.Out, "%s\n", text)
	return err
}
