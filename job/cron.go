package job

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // minimal images have no zone data

	"github.com/robfig/cron/v3"
)

// schedule is a parsed cron expression. Its times depend only on the expression and the time zone,
// so that all nodes compute the same times.
type schedule struct {
	expression string
	zone       *time.Location

	every time.Duration // interval of "@every"; if it is 0, the fields below apply

	minutes, hours, days, months, weekdays uint64 // bit n stands for the value n
	anyDay                                 bool   // whether day of month or of week is unrestricted
	everyHour                              bool   // whether the hour field has "*", "?" or a step
}

// horizon limits the search for the next run. It is longer than the longest interval between two
// runs, from 29 February 2096 to 29 February 2104.
const horizon = 9 * 366 * 24 * time.Hour

// star is the bit by which the parser marks an unrestricted field.
const star = 1 << 63

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// parse returns the schedule of a cron expression, which consists of five fields, a descriptor such
// as "@daily", or "@every" and a duration in whole seconds. It returns an error if the expression
// is invalid or matches no date.
func parse(expression string, zone *time.Location) (*schedule, error) {
	s := &schedule{expression: expression, zone: zone}
	if err := s.parse(expression); err != nil {
		return nil, fmt.Errorf("cron expression %q: %w", expression, err)
	}
	if s.next(time.Unix(0, 0)).IsZero() {
		return nil, fmt.Errorf("cron expression %q matches no date", expression)
	}
	return s, nil
}

func (s *schedule) parse(expression string) (err error) {
	if strings.HasPrefix(expression, "TZ=") || strings.HasPrefix(expression, "CRON_TZ=") {
		return errors.New("remove TZ= or CRON_TZ= and set the time zone with job.In")
	}
	if text, ok := strings.CutPrefix(expression, "@every "); ok {
		s.every, err = time.ParseDuration(text)
		if err == nil && (s.every < time.Second || s.every%time.Second != 0) {
			err = fmt.Errorf("the interval is %v: want whole seconds, at least one", s.every)
		}
		return err
	}
	parsed, err := parser.Parse(expression)
	if err != nil {
		return err
	}
	fields, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return fmt.Errorf("a schedule of type %T is not supported", parsed)
	}
	s.minutes, s.hours, s.days, s.months, s.weekdays = fields.Minute, fields.Hour, fields.Dom, fields.Month, fields.Dow
	s.anyDay = (s.days|s.weekdays)&star != 0
	hour := "*"
	if words := strings.Fields(expression); len(words) == 5 {
		hour = words[1]
	} else if expression != "@hourly" {
		hour = "0" // of the other descriptors
	}
	s.everyHour = strings.ContainsAny(hour, "*?/")
	return nil
}

// next returns the time of the first run after a given time, or the zero time if there is none.
//
// A time zone is a sequence of periods, each with a constant offset from UTC. At the transition
// between two periods, local times are skipped or repeated. If everyHour is true, each matching
// local time that exists is a run. Otherwise a repeated local time is a run only at its first
// occurrence, and the skipped local times that match are one run together, at the end of the gap.
func (s *schedule) next(after time.Time) time.Time {
	if s.every > 0 {
		return after.Truncate(s.every).Add(s.every)
	}
	limit := after.Add(horizon)
	from := local(after.In(s.zone)).Truncate(time.Minute).Add(time.Minute)
	for t := after.In(s.zone); t.Before(limit); {
		begin, end := t.ZoneBounds()
		if !begin.IsZero() && !s.everyHour {
			reached := ceil(local(begin.Add(-1)).Add(1)) // by the local clock before it was set
			if begin.After(after) && !s.match(reached, local(begin)).IsZero() {
				return begin
			}
			from = later(from, reached)
		}
		_, offset := t.Zone()
		shift := time.Duration(offset) * time.Second
		until := limit.UTC().Add(shift)
		if !end.IsZero() && end.Before(limit) {
			until = end.UTC().Add(shift)
		}
		if found := s.match(from, until); !found.IsZero() {
			return found.Add(-shift).In(s.zone)
		}
		if end.IsZero() {
			break
		}
		t, from = end, ceil(local(end))
	}
	return time.Time{}
}

// local returns the local time at t, as a time in UTC with the same date and time of day.
func local(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// ceil returns t rounded up to the minute.
func ceil(t time.Time) time.Time { return t.Add(time.Minute - 1).Truncate(time.Minute) }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// match returns the first matching minute of the local clock that is not before from and is before
// until, or the zero time if there is none.
func (s *schedule) match(from, until time.Time) time.Time {
	for day := from.Truncate(24 * time.Hour); day.Before(until); day = day.AddDate(0, 0, 1) {
		if !s.onDay(day) {
			continue
		}
		for hour := range 24 {
			for minute := 0; has(s.hours, hour) && minute < 60; minute++ {
				t := day.Add(time.Duration(60*hour+minute) * time.Minute)
				if has(s.minutes, minute) && !t.Before(from) && t.Before(until) {
					return t
				}
			}
		}
	}
	return time.Time{}
}

// onDay reports whether there are runs on a day. If the day of the month and the day of the week
// are both restricted, the day need match only one of them.
func (s *schedule) onDay(day time.Time) bool {
	date, weekday := has(s.days, day.Day()), has(s.weekdays, int(day.Weekday()))
	return has(s.months, int(day.Month())) && (date && weekday || !s.anyDay && (date || weekday))
}

func has(bits uint64, n int) bool { return bits>>n&1 != 0 }
