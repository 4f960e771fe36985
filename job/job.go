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

// Job is a method that runs in the background. T is the type of the argument of the method, a
// struct that is stored as JSON. A Job is created by [New] or [Cron], and is safe for concurrent
// use.
type Job[T any] struct{ definition }

// Definition is a [Job] with any type of argument. Only *Job implements it.
type Definition interface{ define() *definition }

type definition struct {
	name     string
	schedule *schedule // nil for a job without a schedule
	zone     string
	missed   Policy
	overlap  Policy // Queue; any other value means Skip
	jitter   time.Duration
	tasks    task.Queue // without Name, Run and Ending
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

// Missed sets the policy for scheduled runs whose time passed while no node could start them:
// [Once], [Skip] or [All]. The default is Once. All implies Overlap(Queue). With Skip, the latest
// run still takes place if it is at most a minute late. Runs whose time passes while the job is
// paused never take place.
func Missed(p Policy) Option {
	return func(d *definition) {
		d.check(p == Once || p == Skip || p == All, "has a policy for missed runs other than Once, Skip and All")
		d.missed = p
	}
}

// Overlap sets the policy for a scheduled run whose time comes while an earlier run of the job is
// running, or waits for its start or its next try: [Skip] or [Queue]. The default is Skip. With
// Queue, at most a hundred runs are waiting or running; further runs are skipped.
func Overlap(p Policy) Option {
	return func(d *definition) {
		d.check(p == Skip || p == Queue, "has a policy for overlapping runs other than Skip and Queue")
		d.overlap = p
	}
}

// Jitter delays each scheduled run by a pseudorandom time of less than d, so that the jobs of many
// services do not all start at the same time. d must be positive and at most 24 hours. By default,
// runs are not delayed.
func Jitter(d time.Duration) Option {
	return func(def *definition) {
		def.check(d > 0 && d <= 24*time.Hour, fmt.Sprintf("has a jitter of %v: want more than 0, at most 24h", d))
		def.jitter = d
	}
}

// Tries sets the maximum number of times that a run is tried before it becomes a dead letter. n
// must be positive. The default is 12; the delays between 12 tries add up to about 32 minutes.
func Tries(n int) Option {
	return func(d *definition) {
		d.check(n > 0, fmt.Sprintf("has %d tries: want at least 1", n))
		d.tasks.Tries = n
	}
}

// Concurrency sets the maximum number of runs of the job that this process carries out at the same
// time. n must be positive; the default is 16. Runs of a scheduled job never overlap, whatever n
// is.
func Concurrency(n int) Option {
	return func(d *definition) {
		d.check(n > 0, fmt.Sprintf("has a concurrency of %d: want at least 1", n))
		d.tasks.Concurrency = n
	}
}

// Endpoint sets options of the endpoint of the job, such as its timeout, its priority and its
// middleware. The default timeout is one hour.
func Endpoint(options ...chassi.EndpointOption) Option {
	return func(d *definition) { d.options = append(d.options, options...) }
}

const defaultTimeout = time.Hour

var jobName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]{0,99}$`)

// Cron returns a job that calls method on the schedule of a cron expression; the package
// documentation describes expressions. Runs of the job never overlap. The name consists of a letter
// and up to 99 letters, digits, '_' and '-'. Errors in the arguments are returned by [Server.Add].
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

// New returns a job that calls method for each run that [Job.Enqueue] adds. The name consists of a
// letter and up to 99 letters, digits, '_' and '-'. The options [In], [Missed], [Overlap] and
// [Jitter] are not permitted. Errors in the arguments are returned by [Server.Add].
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

// queue returns the name of the queue of the tasks of the job.
func (d *definition) queue() string { return queueOf(d.name) }

// queuePrefix is the prefix of the names of job queues, which distinguishes them from other queues.
const queuePrefix = "job/"

func queueOf(job string) string { return queuePrefix + job }

func jobOf(queue string) string { return strings.TrimPrefix(queue, queuePrefix) }

// Tx is the part of a database transaction that [Job.Enqueue] uses. *database.Tx, *sql.Tx and the
// interface DBTX in code generated by sqlc implement it.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// EnqueueOption configures one run.
type EnqueueOption func(*task.New)

// At delays the run until t, by the database's clock.
func At(t time.Time) EnqueueOption { return func(n *task.New) { n.Due = t } }

// Unique sets the unique key of the run: while another run of the job with the same key is waiting
// or running, [Job.Enqueue] adds no run and returns the ID of the other run. A dead letter counts
// as waiting only after it is redriven. An empty key has no effect.
func Unique(key string) EnqueueOption { return func(n *task.New) { n.Unique = key } }

// Enqueue adds a run of the job in the transaction tx and returns the ID of the run. tx must be on
// the database of a [Server] to which the job was added. The run begins after the commit, on any
// node. Enqueue returns an error if the argument cannot be encoded as JSON, if its JSON is larger
// than 1 MiB, if the run cannot be stored, or if the middleware in [Options] fails.
func (j *Job[T]) Enqueue(ctx context.Context, tx Tx, argument *T, options ...EnqueueOption) (id string, err error) {
	n := task.New{Queue: j.queue(), UID: rand.Text()}
	if err := strictjson.Append(&n.Body, argument); err != nil {
		return "", fmt.Errorf("job: encode the argument of %s: %w", j.name, err)
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

// insertUnique inserts a run. If another run with the same unique key is waiting or running, it
// inserts nothing and sets n.UID to the ID of that run. It returns a [chassi.Aborted] error if such
// runs repeatedly end before their IDs can be read.
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
	return chassi.NewError(chassi.Aborted, "unique_run", "Other runs with the same key start and end too frequently")
}

// Run describes the run that a method carries out.
type Run struct {
	// ID is the same in all tries of a run. For a scheduled run it consists of the name of the job,
	// "@" and the scheduled time in UTC, such as "purge@2027-03-28T04:00:00Z". For a run of a
	// scheduled job that [RunNow] has added, the time is that of the call, with microseconds.
	ID        string
	Scheduled time.Time // the scheduled time, in the zone of the schedule; zero for other runs
	Try       int       // number of the try, counted from 1
}

// Causes of the cancellation of a run's context; see [context.Cause].
var (
	// ErrLeaseLost means that the node could not renew its lease, so that another node may carry
	// out the run.
	ErrLeaseLost = task.ErrLeaseLost
	// ErrDrained means that the node is stopping and the grace period is about to end. Unless the
	// run still succeeds, it begins again on another node or after a restart, and this try is not
	// counted.
	ErrDrained = task.ErrDrained
)

type runKey struct{}

// RunFrom returns the run that the method called with ctx is carrying out, or the zero Run if ctx
// is not the context of a run. The ID of the run is also the value of the metadata key
// [transport.IdempotencyKey] of the call.
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

// scheduled returns the task of the run with the given scheduled time.
func (d *definition) scheduled(at time.Time) task.New {
	text := at.UTC().Format(time.RFC3339)
	n := task.New{Queue: d.queue(), UID: d.name + "@" + text, Key: d.name, Body: []byte("{}")}
	n.Headers.Set(scheduledKey, text)
	return n
}
