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
// [Job.Enqueue] takes part in the caller's transaction: if that is rolled back there is no run.
// A run is repeated after a failure, after delays that double from one second to a quarter of an
// hour, until it succeeds, its error is permanent (the codes are those of
// [transport.Queue.Classify]) or it has had [Tries]; then it is a dead letter. A run may be
// repeated after it has succeeded, if its node crashes before that is recorded. [RunFrom]
// returns an id that stays the same, for effects that must not happen twice.
//
// The next time of a scheduled job is stored in the database and moves by a conditional update,
// and it follows from the stored time: restarts do not lose a run, and neither other nodes
// nor changed clocks run it twice. All times are those of the database's clock.
//
// # Cron expressions
//
// An expression has five fields: minute, hour, day of the month (1 to 31), month, day of the week
// (0 to 6, or names). Descriptors such as @daily are supported, and @every with a duration, whose
// runs are at its multiples. If day of the month and day of the week are both restricted, either
// suffices.
//
// When the clock of the zone is set, an expression with fixed hours runs skipped times once, at
// the end of the gap, and repeated times once, at their first occurrence. With "*" or a step in
// the hour field every matching minute that exists is a run, repeated ones included.
package job
