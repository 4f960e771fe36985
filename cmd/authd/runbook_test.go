package main

import (
	"regexp"
	"strings"
	"testing"
)

// The runbook describes the meaning of each alert and the action to take.
func TestEveryAlertHasItsEntryInTheRunbook(t *testing.T) {
	t.Parallel()
	anchors := make(map[string]bool)
	for _, heading := range regexp.MustCompile(`(?m)^#{2,4} (.+)$`).FindAllStringSubmatch(read(t, "../../docs/operations.md"), -1) {
		anchors[strings.ReplaceAll(strings.ToLower(heading[1]), " ", "-")] = true
	}
	alerts := strings.Split(read(t, "../../deploy/prometheus-rules.yml"), "- alert: ")[1:]
	if len(alerts) == 0 {
		t.Fatal("no alerts")
	}
	runbook := regexp.MustCompile(`(?m)^ +runbook: "docs/operations\.md#([a-z0-9-]+)"$`)
	for _, alert := range alerts {
		name, _, _ := strings.Cut(alert, "\n")
		switch found := runbook.FindStringSubmatch(alert); {
		case found == nil:
			t.Errorf("%s has no annotation runbook: \"docs/operations.md#...\"", name)
		case !anchors[found[1]]:
			t.Errorf("%s: docs/operations.md has no heading for #%s", name, found[1])
		}
	}
}
