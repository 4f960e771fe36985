package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/job"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/internal/tasks"
)

// Commands returns the commands that list and control jobs. The function config returns the
// configuration of the database, whose settings must be in the group "database". The commands work
// whether or not the program is running.
//
//	jobs list
//	jobs history JOB
//	jobs run JOB [ARGUMENT]
//	jobs pause JOB
//	jobs resume JOB
//	jobs remove JOB
//	jobs dead list [QUEUE]
//	jobs dead show ID
//	jobs dead redrive SELECTION     IDs separated by commas, job/NAME, or "all"
//	jobs dead discard SELECTION
func Commands[C any](config func(*C) database.Config) []standard.Command[C] {
	command := func(name, args, help string, run tasks.Run[C]) standard.Command[C] {
		return tasks.Command(config, "jobs "+name, args, help, func(ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
			return explain(run(ctx, i, db))
		})
	}
	change := func(do func(context.Context, *database.DB, string) error, done string) tasks.Run[C] {
		return func(ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
			if err := do(ctx, db, i.Args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(i.Out, "%s %s\n", done, i.Args[0])
			return err //nolint:wrapcheck // stdout's
		}
	}
	return append(tasks.Commands("jobs", config),
		command("list", "", "list the jobs, their next runs and how the last ones ended", list[C]),
		command("history", "JOB", "list the last runs of a job", history[C]),
		command("run", "JOB [ARGUMENT]", "add a run of a job now; its argument is JSON", runNow[C]),
		command("pause", "JOB", "start no more scheduled runs of a job", change(job.Pause, "paused")),
		command("resume", "JOB", "start scheduled runs of a job again, from now on", change(job.Resume, "resumed")),
		command("remove", "JOB", "remove a job that no program has any more, with its history and waiting runs", change(job.Remove, "removed")))
}

// explain returns err. If err means that a job is unknown, explain adds how to list the known jobs.
func explain(err error) error {
	if errors.Is(err, job.ErrUnknown) {
		return fmt.Errorf("%w; the command \"jobs list\" lists the jobs of this database", err)
	}
	return err
}

func list[C any](ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
	jobs, err := job.List(ctx, db)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	w := tabwriter.NewWriter(i.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "JOB\tSCHEDULE\tZONE\tNEXT\tWAITING\tRUNNING\tLAST")
	for _, s := range jobs {
		next, last := "", ""
		if !s.Next.IsZero() {
			next = s.Next.Format(time.RFC3339)
		}
		switch {
		case s.Paused:
			next = "paused"
		case s.Overdue:
			next += " (overdue: does a program with this job run?)"
		}
		if s.Last != nil {
			last = s.Last.Outcome + " " + s.Last.Ended.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", s.Job, dash(s.Expression), dash(s.Zone), dash(next), s.Waiting, s.Running, dash(last))
	}
	return w.Flush() //nolint:wrapcheck // stdout's
}

func dash(text string) string { return cmp.Or(text, "-") }

func history[C any](ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
	records, err := job.History(ctx, db, i.Args[0])
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	w := tabwriter.NewWriter(i.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RUN\tENDED\tTOOK\tOUTCOME\tERROR")
	for _, r := range records {
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\t%s\n", r.ID, r.Ended.Format(time.RFC3339), r.Ended.Sub(r.Started).Round(time.Millisecond), r.Outcome, tasks.Cell(r.Error))
	}
	return w.Flush() //nolint:wrapcheck // stdout's
}

func runNow[C any](ctx context.Context, i *standard.Invocation[C], db *database.DB) error {
	argument := "{}"
	if len(i.Args) > 1 {
		argument = i.Args[1]
	}
	id, err := job.RunNow(ctx, db, i.Args[0], argument)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	_, err = fmt.Fprintln(i.Out, id)
	return err //nolint:wrapcheck // stdout's
}
