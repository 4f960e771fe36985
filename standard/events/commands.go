package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/internal/tasks"
)

// Commands returns the commands for dead letters, replays and subscriptions. The function config
// returns the configuration of the database, whose settings must be in the group "database". The
// commands work whether or not the program is running, except that remove returns an error while a
// program serves the subscription.
//
//	events dead list [QUEUE]
//	events dead show ID
//	events dead redrive SELECTION     IDs separated by commas, a subscription, job/NAME, or "all"
//	events dead discard SELECTION
//	events replay TOPIC SUBSCRIPTION FROM
//	events remove SUBSCRIPTION
func Commands[C any](config func(*C) database.Config) []standard.Command[C] {
	return append(tasks.Commands("events", config),
		tasks.Command(config, "events replay", "TOPIC SUBSCRIPTION FROM",
			"publish kept events again to a subscription, from a time, an event's id, or start", replay[C]),
		tasks.Command(config, "events remove", "SUBSCRIPTION",
			"remove a subscription that no program has any more, with its events", remove[C]))
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
	if err != nil && r.Events == 0 {
		return err
	}
	note := ""
	if !r.Known {
		note = fmt.Sprintf("this database has no subscription %s: the events are lost unless a broker delivers them to a program with another database\n",
			o.Subscription)
	}
	_, printErr := fmt.Fprintf(i.Out, "replayed %d events to %s, as replay %s\n%s", r.Events, o.Subscription, r.ID, note)
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
