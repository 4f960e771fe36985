package localapi_test

import (
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/localapi"
	"github.com/chassi-go/chassi/transport/transporttest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	transporttest.Run(t, transporttest.Transport{Cancels: true, Streams: true, Start: func(t *testing.T, o transporttest.Options, services ...*chassi.Service) transporttest.Instance {
		s := localapi.New(o.Middleware...)
		for _, service := range services {
			if err := s.Mount(service); err != nil {
				t.Fatal(err)
			}
		}
		return transporttest.Instance{Caller: s, Server: s}
	}})
}
