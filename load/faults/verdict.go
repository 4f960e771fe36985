package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// share returns the proportion of successful calls of a probe during the fault, from 0 to 1, and
// the number of calls that count. A call that succeeded only after the fault had ended counts as
// failed if it took at least r.slowest, and does not count if it was faster.
func (r *result) share(probe string) (part float64, calls int) {
	succeeded := 0
	for _, s := range r.fault[probe] {
		underWay := s.outcome == good && s.ended.After(r.ended)
		if underWay && s.ended.Sub(s.began) < r.slowest {
			continue
		}
		calls++
		if s.outcome == good && !underWay {
			succeeded++
		}
	}
	return float64(succeeded) / float64(max(calls, 1)), calls
}

// steady is the minimum proportion of successful calls of a probe that is up. One call in ten may
// be slow on a busy machine.
const steady = 0.9

// up reports whether a probe was up during the fault: at least one call counts, and the proportion of
// successful calls was at least steady or, for probeLive and probeKeys, 1.
func (r *result) up(probe string) bool {
	part, calls := r.share(probe)
	return calls > 0 && (part == 1 || part >= steady && probe != probeLive && probe != probeKeys)
}

// problems returns a description of each expectation that does not hold, or the error of a failed
// measurement. It returns nil if the cell was not run.
func (r *result) problems() []string {
	if r.notRun != "" {
		return nil
	}
	if r.err != nil {
		return []string{r.err.Error()}
	}
	if r.died {
		return r.refusal()
	}
	var found []string
	for _, probe := range r.cell.expect.up {
		if !r.up(probe) {
			part, calls := r.share(probe)
			found = append(found, fmt.Sprintf("%s: %.0f %% of %d calls during the fault (%s)", probe, 100*part, calls, firstError(r.fault[probe])))
		}
	}
	found = append(found, r.untrue()...)
	found = append(found, r.readinessProblems()...)
	if len(r.missing) > 0 {
		found = append(found, fmt.Sprintf("not back within %v: %s", recoverPatience, strings.Join(r.missing, ", ")))
	}
	if len(r.lost) > 0 {
		found = append(found, fmt.Sprintf("%d acknowledged sign-ups are lost, such as %s", len(r.lost), r.lost[0]))
	}
	if r.doubled > 0 {
		found = append(found, fmt.Sprintf("%d sign-ups were carried out twice", r.doubled))
	}
	if r.exit != "0" {
		found = append(found, "exit: "+r.exit)
	}
	return found
}

// refusal returns a problem if the log of a node that exited by itself at start does not contain
// the expected text.
func (r *result) refusal() []string {
	if !strings.Contains(r.tail, r.cell.expect.refuses) {
		return []string{fmt.Sprintf("authd %s, and its log does not contain %q: %s", r.exit, r.cell.expect.refuses, r.tail)}
	}
	return nil
}

// untrue returns a problem for each probe that received a wrong response in a phase, and a problem
// if the liveness probe failed after the fault.
func (r *result) untrue() (found []string) {
	for _, phase := range []struct {
		name    string
		samples map[string][]sample
	}{{"before", r.before}, {"during", r.fault}, {"after", r.after}} {
		for probe, samples := range phase.samples {
			for _, s := range samples {
				if s.outcome == wrong {
					found = append(found, fmt.Sprintf("%s, %s the fault: %v", probe, phase.name, s.err))
					break
				}
			}
		}
		for _, s := range phase.samples[probeLive] {
			if s.outcome != good && phase.name == "after" {
				found = append(found, fmt.Sprintf("healthz after the fault: %v", s.err))
				break
			}
		}
	}
	slices.Sort(found)
	return found
}

func (r *result) readinessProblems() (found []string) {
	want := r.cell.expect
	if want.ready && !r.up(probeReady) {
		part, calls := r.share(probeReady)
		found = append(found, fmt.Sprintf("readiness said yes in %.0f %% of %d calls: %s", 100*part, calls, r.readiness()))
	}
	if len(r.read) == 0 {
		return append(found, "readiness did not respond")
	}
	if last := r.read[len(r.read)-1]; !want.ready && last.code == 200 {
		found = append(found, "readiness said yes at the end of the fault")
	}
	if want.reason != "" && !slices.ContainsFunc(r.read, func(h reading) bool { return strings.Contains(h.reasons(), want.reason) }) {
		found = append(found, fmt.Sprintf("readiness did not name %q: %s", want.reason, r.readiness()))
	}
	return found
}

// readiness returns a description of the last readiness status during the fault.
func (r *result) readiness() string {
	if len(r.read) == 0 {
		return "no response"
	}
	last := r.read[len(r.read)-1]
	text := last.String()
	if reasons := last.reasons(); reasons != "" && last.code != 200 {
		text += " (" + reasons + ")"
	}
	return text
}

// firstError returns the first error of the calls of a probe. If no call has failed, it returns
// text with the duration of the longest call.
func firstError(samples []sample) string {
	var longest time.Duration
	for _, s := range samples {
		if s.err != nil {
			return s.err.Error()
		}
		longest = max(longest, s.ended.Sub(s.began))
	}
	return fmt.Sprintf("they had no response by the end of the fault; the longest took %.1f s", longest.Seconds())
}

// changing matches the parts of a text that differ between runs.
var changing = regexp.MustCompile(`127\.0\.0\.1:\d+|faults_\w+|faults-[\w-]+`)

// plain returns text formatted for a table cell, with at most limit characters. An ellipsis
// replaces each part that changing matches.
func plain(text string, limit int) string {
	text = strings.Join(strings.Fields(changing.ReplaceAllString(text, "…")), " ")
	text = strings.NewReplacer("|", "/", "`", "'", "<", "‹", ">", "›").Replace(text)
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit-1]) + "…"
	}
	return text
}
