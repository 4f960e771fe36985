package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/standard"
)

// Commands returns the commands for dead letters, replays and subscriptions. They use the
// database that config returns, whose settings are in the group "database", while the program
// runs or not.
//
//	events dead list [QUEUE]
//	events dead show ID
//	events dead redrive SELECTION     IDs with commas between, a subscription, or "all"
//	events dead discard SELECTION
//	events replay TOPIC SUBSCRIPTION FROM
//	events remove SUBSCRIPTION
func Commands[C any](config func(*C) database.Config) []standard.Command[C] {
	type run = func(context.Context, *standard.Invocation[C], *database.DB) error
	command := func(name, args, help string, run run) standard.Command[C] {
		return standard.Command[C]{
			Name: "events " + name, Args: args, Settings: "database", Help: help,
			Run: func(ctx context.Context, i *standard.Invocation[C]) error {
				db, err := database.OpenExisting(ctx, config(i.Config))
				if err != nil {
					return err
				}
				return errors.Join(run(ctx, i, db), db.Close())
			},
		}
	}
	change := func(do func(context.Context, *database.DB, event.Selection) (int, error), done string) run {
		return func(ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
			s, err := selection(i.Args[0])
			if err != nil {
				return err
			}
			n, err := do(ctx, db, s)
			_, printErr := fmt.Fprintf(i.Out, "%s %d dead letters\n", done, n)
			return errors.Join(err, printErr)
		}
	}
	return []standard.Command[C]{
		command("dead list", "[QUEUE]", "list events and jobs that failed for good", list[C]),
		command("dead show", "ID", "print a dead letter as JSON", show[C]),
		command("dead redrive", "SELECTION", "try dead letters again: IDs with commas between, a subscription or job, or all",
			change(event.Redrive, "redrove")),
		command("dead discard", "SELECTION", "delete dead letters: IDs with commas between, a subscription or job, or all",
			change(event.Discard, "discarded")),
		command("replay", "TOPIC SUBSCRIPTION FROM", "publish kept events again to a subscription, from a time, an event's id, or start", replay[C]),
		command("remove", "SUBSCRIPTION", "remove a subscription that no program has any more, with its events", remove[C]),
	}
}

// selection parses what redrive and discard select.
func selection(arg string) (s event.Selection, err error) {
	if arg == "all" {
		return s, nil
	}
	if arg != "" && strings.Trim(arg, "0123456789,") == "" {
		for word := range strings.SplitSeq(arg, ",") {
			id, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return s, standard.UsageError{Err: fmt.Errorf("%q: want ids with commas between", arg)}
			}
			s.IDs = append(s.IDs, id)
		}
		return s, nil
	}
	s.Queue = arg
	return s, nil
}

// maxCell is the maximum length of an error in a list.
const maxCell = 80

func list[C any](ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
	var s event.Selection
	if len(i.Args) > 0 {
		s.Queue = i.Args[0]
	}
	w := tabwriter.NewWriter(i.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tQUEUE\tKEY\tTRIES\tDIED\tREASON\tERROR")
	for {
		letters, err := event.DeadLetters(ctx, db, s)
		if err != nil {
			return err
		}
		for _, d := range letters {
			text := d.Error
			if len(text) > maxCell {
				text = strings.ToValidUTF8(text[:maxCell], "") + "…"
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\t%s\n", d.ID, d.Queue, strconv.Quote(d.Key), d.Tries, d.Died.Format(time.RFC3339), d.Reason, text)
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
		return standard.UsageError{Err: fmt.Errorf("%q is not the id of a dead letter", i.Args[0])}
	}
	letters, err := event.DeadLetters(ctx, db, event.Selection{IDs: []int64{id}})
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
		"id": d.ID, "queue": d.Queue, "event": d.UID, "key": d.Key, "holds_key": d.Hold, "tries": d.Tries, "lost_leases": d.Lost,
		"code": d.Code, "reason": d.Reason, "error": d.Error, "created": d.Created, "died": d.Died, "headers": headers, "body": body,
	}, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(i.Out, "%s\n", text)
	return err
}

func replay[C any](ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
	o := event.ReplayOptions{Topic: i.Args[0], Subscription: i.Args[1]}
	if from := i.Args[2]; from != "start" {
		var err error
		if o.Since, err = time.Parse(time.RFC3339, from); err != nil {
			o.Since, o.SinceID = time.Time{}, from
		}
	}
	r, err := event.Replay(ctx, db, o)
	_, printErr := fmt.Fprintf(i.Out, "replayed %d events to %s, as replay %s\n", r.Events, o.Subscription, r.ID)
	return errors.Join(err, printErr)
}

func remove[C any](ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
	r, err := event.Remove(ctx, db, i.Args[0])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(i.Out, "removed %s with %d waiting events and %d dead letters\n", i.Args[0], r.Tasks, r.Dead)
	return err
}
