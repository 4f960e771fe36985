package client_test

import (
	"testing"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client"
)

// R83: a service is not said to work before any instance of it has responded, nor when none
// is called any more.
func TestStatusIsRecorded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		instances []client.InstanceStats
		want      string
	}{
		"none is known":           {nil, "unknown"},
		"never called":            {[]client.InstanceStats{{}, {}}, "unknown"},
		"called, no response yet": {[]client.InstanceStats{{Calls: 1, InFlight: 1}}, "unknown"},
		"failed alone":            {[]client.InstanceStats{{Calls: 1, Failures: 1}}, "degraded"},
		"answered":                {[]client.InstanceStats{{Calls: 2, Failures: 1, Answered: true}}, "ok"},
		"one of two responses":    {[]client.InstanceStats{{Breaker: breaker.Open, Failures: 9}, {Answered: true}}, "ok"},
		"all breakers are open":   {[]client.InstanceStats{{Breaker: breaker.Open, Answered: true}}, "degraded"},
		"tried again":             {[]client.InstanceStats{{Breaker: breaker.HalfOpen, Answered: true}}, "degraded"},
		"ejected":                 {[]client.InstanceStats{{Ejected: true, Answered: true}}, "degraded"},
		"the other is never used": {[]client.InstanceStats{{Breaker: breaker.Open, Answered: true}, {}}, "degraded"},
	} {
		if got := (client.Stats{Instances: c.instances}).Status(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
