package standard

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/chassi-go/chassi/telemetry"
	"github.com/chassi-go/chassi/transport/certs"
	"github.com/chassi-go/chassi/transport/message"
)

const (
	// healthAge is how old the health behind the metrics may be: the App looks every 5 s.
	healthAge = 15 * time.Second
	// healthWait bounds how long a scrape waits for it.
	healthWait = 3 * time.Second
)

// observe shows in the metrics and in the detail of readiness how the parts of the chassis
// do.
func (s *Standard) observe(c Config) error {
	errs := []error{s.Telemetry.RegisterComponents(s.components)}
	for _, o := range s.Telemetry.Outputs() {
		s.Inform(o.Name, o.State)
	}
	if c.HTTP.TLS.Enabled() {
		errs = append(errs, s.observeCertificate(s.HTTP.Name(), s.HTTP.Certificate))
	}
	if s.GRPC != nil && c.GRPC.TLS.Enabled() {
		errs = append(errs, s.observeCertificate(s.GRPC.Name(), s.GRPC.Certificate))
	}
	if s.NATS != nil {
		errs = append(errs, s.ObserveBroker(s.NATS.Name(), s.NATS.Stats))
	}
	if s.AMQP != nil {
		errs = append(errs, s.ObserveBroker(s.AMQP.Name(), s.AMQP.Stats))
	}
	return errors.Join(errs...)
}

// components returns what readiness says of each component.
func (s *Standard) components() []telemetry.Component {
	ctx, cancel := context.WithTimeout(context.Background(), healthWait)
	defer cancel()
	var components []telemetry.Component
	for _, c := range s.RecentHealth(ctx, healthAge).Checks {
		if c.Status == "unknown" { // nothing has been asked of it yet
			continue
		}
		components = append(components, telemetry.Component{Name: c.Name, Required: !c.Optional, Up: c.Err == nil && c.Status == "ok"})
	}
	return components
}

// ObserveBroker shows the figures of a broker's server or client, such as those of
// natsapi.Client.Stats, in the metrics. Those of the Standard's own servers are there.
func (s *Standard) ObserveBroker(name string, stats func() message.BrokerStats) error {
	return s.Telemetry.RegisterBroker(name, func() telemetry.BrokerStats { return telemetry.BrokerStats(stats()) }) //nolint:wrapcheck // says where
}

// observeCertificate shows the certificate of a listener. It is of no consequence for
// readiness.
func (s *Standard) observeCertificate(server string, state func() (certs.State, bool)) error {
	s.Inform("tls_"+server, func() (status, detail string) {
		switch state, ok := state(); {
		case !ok:
			return "starting", ""
		case state.Degraded():
			return "degraded", state.String()
		default:
			return "ok", state.String()
		}
	})
	return s.Telemetry.RegisterCertificate(server, func() telemetry.CertificateStats { //nolint:wrapcheck // says where
		state, ok := state()
		if !ok {
			return telemetry.CertificateStats{NotAfter: math.NaN()}
		}
		return telemetry.CertificateStats{NotAfter: float64(state.NotAfter.Unix()), FailedReloads: state.FailedReloads, ReloadsFailing: state.Broken != nil}
	})
}
