package job

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/internal/task"
	"github.com/chassi-go/chassi/transport"
)

// Job is a method that runs in the background. T is its argument, a plain struct, which is stored
// as JSON. A Job is safe for concurrent use.
type Job[T any] struct{ definition }

// Definition is a [Job] with an argument of any type.
type Definition interface{ define() *definition }

type definition struct {
	name     string
	schedule *schedule // nil for jobs without one
	zone     string
	missed   Policy
	overlap  Policy // Skip if it is not Queue
	jitter   time.Duration
	tasks    task.Queue // without Name and Run
	options  []chassi.EndpointOption
	endpoint *chassi.Endpoint
	sender   *task.Sender
	errs     []error
}

func (d *definition) define() *definition { return d }

// Option configures a job.
type Option func(*definition)

// In sets the time zone of a cron expression, by its name in the IANA database. The default is
// UTC.
func In(zone string) Option { return func(d *definition) { d.zone = zone } }

// Missed sets what becomes of runs whose time passed while no node could start them: [Once], which
// is the default, [Skip] or [All], which implies Overlap(Queue). A run that is up to a minute late
// is not missed. Scheduled runs of a paused job never take place.
func Missed(p Policy) Option {
	return func(d *definition) {
		d.check(p == Once || p == Skip || p == All, "has a policy for missed runs other than Once, Skip and All")
		d.missed = p
	}
}

// Overlap sets what becomes of a scheduled run if an earlier run of the job is running or waiting,
// which includes waiting for the next try: [Skip], which is the default, or [Queue], with which at
// most a hundred runs are waiting or running.
func Overlap(p Policy) Option {
	return func(d *definition) {
		d.check(p == Skip || p == Queue, "has a policy for overlapping runs other than Skip and Queue")
		d.overlap = p
	}
}

// Jitter delays each scheduled run by a pseudorandom time of less than d, so that jobs of many
// services do not start at once. d is at most 24 hours.
func Jitter(d time.Duration) Option {
	return func(def *definition) {
		def.check(d > 0 && d <= 24*time.Hour, fmt.Sprintf("has a jitter of %v: want more than 0, at most 24h", d))
		def.jitter = d
	}
}

// Tries sets how often a run is tried before it becomes a dead letter. The default is 12; the
// delays between the tries are then about 32 minutes in all.
func Tries(n int) Option {
	return func(d *definition) {
		d.check(n > 0, fmt.Sprintf("has %d tries: want at least 1", n))
		d.tasks.Tries = n
	}
}

// Concurrency sets how many runs this process carries out at the same time. The default is 16. Runs
// of a scheduled job never overlap.
func Concurrency(n int) Option {
	return func(d *definition) {
		d.check(n > 0, fmt.Sprintf("has a concurrency of %d: want at least 1", n))
		d.tasks.Concurrency = n
	}
}

// Endpoint configures the endpoint of the job: its priority, middleware and, above all, its
// timeout, which is an hour by default.
func Endpoint(options ...chassi.EndpointOption) Option {
	return func(d *definition) { d.options = append(d.options, options...) }
}

const defaultTimeout = time.Hour

var jobName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]{0,99}$`)

// Cron returns a job that runs by a schedule, see the package's documentation. Runs of the job
// never overlap. Errors in the arguments are returned when the job is added to a program.
func Cron(name, expression string, method func(ctx context.Context) error, options ...Option) *Job[struct{}] {
	j := newJob(name, func(ctx context.Context, _ *struct{}) error { return method(ctx) }, options)
	j.check(method != nil, "has no method")
	zone, err := time.LoadLocation(j.zone)
	if err != nil {
		j.check(false, fmt.Sprintf("has an unknown time zone %q", j.zone))
		return j
	}
	if j.schedule, err = parse(expression, zone); err != nil {
		j.check(false, "has an invalid schedule: "+err.Error())
	}
	return j
}

// New returns a job whose runs are started by [Job.Enqueue]. Errors in the arguments are returned
// when the job is added to a program.
func New[T any](name string, method func(ctx context.Context, argument *T) error, options ...Option) *Job[T] {
	j := newJob(name, method, options)
	j.check(method != nil, "has no method")
	j.check(j.zone == "" && j.missed == Once && j.overlap == Once && j.jitter == 0,
		"has an option that needs a schedule: In, Missed, Overlap and Jitter are for job.Cron")
	return j
}

func newJob[T any](name string, method func(context.Context, *T) error, options []Option) *Job[T] {
	j := &Job[T]{definition: definition{name: name}}
	j.check(jobName.MatchString(name), "has an invalid name: want a letter, then up to 99 letters, digits, _ and -")
	for _, option := range options {
		if option == nil {
			j.check(false, "has an option that is nil")
			continue
		}
		option(&j.definition)
	}
	j.endpoint = chassi.NewEndpoint(name, func(ctx context.Context, argument *T) (*struct{}, error) {
		return new(struct{}), method(ctx, argument)
	}, append([]chassi.EndpointOption{chassi.Public, chassi.Timeout(defaultTimeout)}, j.options...)...)
	j.sender = task.NewSender(j.endpoint, "job", "enqueue "+name)
	return j
}

func (d *definition) check(ok bool, complaint string) {
	if !ok {
		d.errs = append(d.errs, fmt.Errorf("job %q %s", d.name, complaint))
	}
}

func (d *definition) err() error { return errors.Join(append(d.errs, d.endpoint.Err())...) }

// queue returns the name of the queue of the job's tasks.
func (d *definition) queue() string { return queueOf(d.name) }

// queuePrefix is the prefix of the names of job queues, which distinguishes them from other queues.
const queuePrefix = "job/"

func queueOf(job string) string { return queuePrefix + job }

func jobOf(queue string) string { return strings.TrimPrefix(queue, queuePrefix) }

// Tx is a transaction: *database.Tx, *sql.Tx, or what code generated by sqlc uses.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// EnqueueOption configures one run.
type EnqueueOption func(*task.New)

// At delays the run until t, by the database's clock.
func At(t time.Time) EnqueueOption { return func(n *task.New) { n.Due = t } }

// Unique makes the run the only one of its job with this key: while a run with the key is waiting
// or running, [Job.Enqueue] adds no run and returns the id of that run. A dead letter does not
// count until it is redriven.
func Unique(key string) EnqueueOption { return func(n *task.New) { n.Unique = key } }

// Enqueue adds a run in the transaction tx, on a database to which the job was added, and returns
// its id. The run begins after the commit, on any node. The JSON of the argument may have at most 1
// MiB.
func (j *Job[T]) Enqueue(ctx context.Context, tx Tx, argument *T, options ...EnqueueOption) (id string, err error) {
	n := task.New{Queue: j.queue(), UID: rand.Text()}
	if err := strictjson.Append(&n.Body, argument); err != nil {
		return "", fmt.Errorf("job: the argument of %s: %w", j.name, err)
	}
	for _, option := range options {
		option(&n)
	}
	err = j.sender.Send(ctx, tx, argument, func(ctx context.Context, headers transport.Pairs) error {
		n.Headers = headers
		return insertUnique(ctx, tx, &n)
	})
	if err != nil {
		return "", err
	}
	return n.UID, nil
}

// insertUnique inserts a run. If another run with the same key is waiting or running, it sets the
// id of n to the id of that run instead.
func insertUnique(ctx context.Context, tx Tx, n *task.New) error {
	for range 3 {
		inserted, err := task.Insert(ctx, tx, *n)
		if err != nil || inserted {
			return err //nolint:wrapcheck // says where
		}
		err = tx.QueryRowContext(ctx, "SELECT uid FROM chassi_tasks WHERE queue = $1 AND unique_key = $2", n.Queue, n.Unique).Scan(&n.UID)
		if !errors.Is(err, sql.ErrNoRows) { // otherwise the other run has ended
			return err
		}
	}
	return chassi.NewError(chassi.Aborted, "unique_run", "Another run with the same key begins and ends too often")
}

// Run describes the run that a method carries out.
type Run struct {
	// ID is the same in all attempts of a run: for a scheduled run the name of the job, "@" and the
	// scheduled time in UTC, such as "purge@2027-03-28T04:00:00Z".
	ID        string
	Scheduled time.Time // the time by the schedule, in its zone; zero if no schedule started the run
	Try       int       // counted from 1
}

// Causes of the end of a run's context, see [context.Cause].
var (
	// ErrLeaseLost means that the node could not renew its lease, so that another one may carry
	// out the run.
	ErrLeaseLost = task.ErrLeaseLost
	// ErrDrained means that the node stops and the grace period is over. The run begins again on
	// another node, and this try is not counted.
	ErrDrained = task.ErrDrained
)

type runKey struct{}

// RunFrom returns the run whose method was called with ctx, or the zero Run. The id is also the
// metadata [transport.IdempotencyKey] of the call.
func RunFrom(ctx context.Context) Run {
	r, _ := ctx.Value(runKey{}).(Run)
	return r
}

// scheduledKey is the metadata key of the scheduled time.
const scheduledKey = "Job-Scheduled"

func runOf(d *definition, t *task.Task) Run {
	r := Run{ID: t.UID, Try: t.Try}
	if at, err := time.Parse(time.RFC3339, t.Headers.Get(scheduledKey)); err == nil && d.schedule != nil {
		r.Scheduled = at.In(d.schedule.zone)
	}
	return r
}

// scheduled returns the task of the run at a scheduled time.
func (d *definition) scheduled(at time.Time) task.New {
	text := at.UTC().Format(time.RFC3339)
	n := task.New{Queue: d.queue(), UID: d.name + "@" + text, Key: d.name, Body: []byte("{}")}
	n.Headers.Set(scheduledKey, text)
	return n
}
