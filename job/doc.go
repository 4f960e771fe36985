// Package job runs methods on a schedule, at a given time, or as soon as possible. Each run takes
// place on one node of a service and requires only the database of the service.
//
//	job.Cron("purge", "0 4 * * *", s.Purge, job.In("Europe/Lisbon"), job.Missed(job.All))
//
//	sendMail := job.New("send_mail", s.SendMail, job.Tries(10))
//	id, err := sendMail.Enqueue(ctx, tx, &Mail{To: address}, job.At(t), job.Unique(address))
//
// Each job has a [chassi.Endpoint]: its runs are calls on the transport "job" that pass through the
// middleware of the program. Package standard/jobs adds jobs to a program.
//
// # Guarantees
//
// [Job.Enqueue] takes part in the caller's transaction: if the transaction is rolled back, there is
// no run. A run that fails is retried after delays that double from one second to 15 minutes, or
// after the RetryAfter of its error if that is longer, but at most 15 minutes. A run becomes a dead
// letter if its error is permanent according to [transport.Queue.Classify], if all of its [Tries]
// have failed, or if its nodes were lost five times in succession while it ran. A run that has
// succeeded may be carried out again if its node crashes before the success is recorded. [RunFrom]
// returns the ID of a run, which is the same in all tries, for effects that must not occur twice.
//
// The time of the next run of a scheduled job is stored in the database. When this time comes, a
// conditional update replaces it with the following time, so that neither restarts nor concurrent
// nodes nor clock changes repeat a run. Runs whose time passes during a restart are handled as
// [Missed] specifies. All times are those of the database's clock.
//
// # Cron expressions
//
// An expression has five fields: minute, hour, day of the month (1 to 31), month, and day of the
// week (0 to 6, or names). Descriptors such as @daily are supported. @every with a duration in
// whole seconds, at least one, schedules runs at the multiples of the duration. If day of the month
// and day of the week are both restricted, a day need match only one of them.
//
// When the clock of the time zone is changed, a job with fixed hours runs once for all skipped
// times, at the end of the gap, and once for each repeated time, at its first occurrence. A job
// with "*", "?" or a step in the hour field runs at every matching minute that exists, including
// repeated minutes.
package job
