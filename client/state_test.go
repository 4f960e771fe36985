package client_test

import (
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client"
)

// R83: a service is not said to work before any instance of it has answered, nor when none
// is called any more.
func TestConditionIsWhatWasSeen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		instances []client.InstanceStats
		want      chassi.Condition
	}{
		"none is known":           {nil, chassi.ConditionUnknown},
		"never called":            {[]client.InstanceStats{{}, {}}, chassi.ConditionUnknown},
		"called, no answer yet":   {[]client.InstanceStats{{Calls: 1, InFlight: 1}}, chassi.ConditionUnknown},
		"failed alone":            {[]client.InstanceStats{{Calls: 1, Failures: 1}}, chassi.ConditionDegraded},
		"answered":                {[]client.InstanceStats{{Calls: 2, Failures: 1, Answered: true}}, chassi.ConditionOK},
		"one of two answers":      {[]client.InstanceStats{{Breaker: breaker.Open, Failures: 9}, {Answered: true}}, chassi.ConditionOK},
		"all breakers are open":   {[]client.InstanceStats{{Breaker: breaker.Open, Answered: true}}, chassi.ConditionDegraded},
		"tried again":             {[]client.InstanceStats{{Breaker: breaker.HalfOpen, Answered: true}}, chassi.ConditionDegraded},
		"ejected":                 {[]client.InstanceStats{{Ejected: true, Answered: true}}, chassi.ConditionDegraded},
		"the other is never used": {[]client.InstanceStats{{Breaker: breaker.Open, Answered: true}, {}}, chassi.ConditionDegraded},
	} {
		if got := (client.Stats{Instances: c.instances}).Condition(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
