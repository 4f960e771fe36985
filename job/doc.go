// Package job runs methods by a schedule, at a time, or as soon as possible, on one node of a
// service, with no more than the service's database.
//
//	job.Cron("purge", "0 4 * * *", s.Purge, job.In("Europe/Lisbon"), job.Missed(job.All))
//
//	sendMail := job.New("send_mail", s.SendMail, job.Tries(10))
//	id, err := sendMail.Enqueue(ctx, tx, &Mail{To: address}, job.At(t), job.Unique(address))
//
// A job is a [chassi.Endpoint]: its runs pass through the middleware of the program, with the
// [chassi.Binding] Transport "job". Package standard/jobs adds jobs to a program.
//
// # Guarantees
//
// [Job.Enqueue] takes part in the caller's transaction: if the transaction is rolled back, there is
// no run. A run that fails is repeated, after delays that double from one second to a quarter of an
// hour, until it succeeds. If its error is permanent, as [transport.Queue.Classify] decides, or if
// all of its [Tries] have failed, it becomes a dead letter. A run may be repeated after it has
// succeeded, if its node crashes before the success is recorded. [RunFrom] returns an id that stays
// the same, for effects that must not happen twice.
//
// The next time of a scheduled job is stored in the database. It is computed from the stored time
// and set by a conditional update: restarts do not lose a run, and neither other nodes nor changed
// clocks run it twice. All times are those of the database's clock.
//
// # Cron expressions
//
// An expression has five fields: minute, hour, day of the month (1 to 31), month, day of the week
// (0 to 6, or names). Descriptors such as @daily are supported, and @every with a duration in whole
// seconds, whose runs are at the multiples of the duration. If day of the month and day of the week
// are both restricted, a day need match only one of them.
//
// When the clock of the zone is set, an expression with fixed hours runs once for skipped times, at
// the end of the gap, and once for repeated times, at their first occurrence. With "*" or a step in
// the hour field, every matching minute that exists is a run, including repeated ones.
package job
