package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// table writes the results to w as a Markdown table.
func table(w io.Writer, results []*result) {
	fmt.Fprintln(w, "| dependency | fault | stays up | does not | readiness meanwhile | back after | all well after | lost / doubled of stored | log: begins / ends |")
	fmt.Fprintln(w, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range results {
		cells := append([]string{r.cell.dependency, r.cell.fault}, r.row()...)
		fmt.Fprintln(w, "| "+strings.Join(cells, " | ")+" |")
	}
}

// row returns the columns of a result, except those that identify the cell.
func (r *result) row() []string {
	switch {
	case r.notRun != "":
		return []string{"not run: " + plain(r.notRun, 80), "", "", "", "", "", ""}
	case r.err != nil:
		return []string{"could not be measured: " + plain(r.err.Error(), 120), "", "", "", "", "", ""}
	case r.died:
		return []string{"ends: exit " + plain(strings.TrimPrefix(r.exit, "ended by itself: "), 20), "all", "", "", "", r.ledger(), ""}
	}
	var up, down []string
	for _, probe := range r.probes() {
		switch part, calls := r.share(probe); {
		case calls == 0 || probe == probeReady:
		case r.up(probe):
			up = append(up, probe)
		default:
			down = append(down, fmt.Sprintf("%s %.0f %%", probe, 100*part))
		}
	}
	back, well := seconds(r.first), seconds(r.last)
	if len(r.missing) > 0 {
		well = "**never**: " + strings.Join(r.missing, ", ")
	}
	if r.cell.end == nil {
		back, well = "it does not end", ""
	}
	return []string{
		strings.Join(up, ", "), strings.Join(down, ", "), plain(r.readiness(), 110), back, well, r.ledger(),
		fmt.Sprintf("%d / %d", len(r.begins), len(r.ends)),
	}
}

// order contains the names of all probes except probeReady, in the order in which they are printed.
var order = []string{probeLive, probeKeys, "validate", "gRPC", "login", "sign-up", "NATS", "NATS sign-up", "AMQP", "AMQP sign-up"}

func (r *result) probes() (found []string) {
	for _, probe := range order {
		if len(r.fault[probe]) > 0 {
			found = append(found, probe)
		}
	}
	return found
}

func (r *result) ledger() string {
	return fmt.Sprintf("%d / %d of %d", len(r.lost), r.doubled, r.stored)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
