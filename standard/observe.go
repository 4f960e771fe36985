package standard

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/chassi-go/chassi/telemetry"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/certs"
)

const (
	// healthAge is the maximum age of the health results in the metrics. The App probes every 5 s.
	healthAge = 15 * time.Second
	// healthWait is the maximum time for which a scrape waits for a probe.
	healthWait = 3 * time.Second
)

// observe adds the state of the components to the metrics, and the state of the telemetry outputs
// to the details of readiness.
func (a *App) observe() error {
	for _, o := range a.Telemetry.Outputs() {
		a.AddStatus(o.Name, o.State)
	}
	return a.Telemetry.RegisterComponents(a.components) //nolint:wrapcheck // says where
}

func (a *App) observeHTTP() error {
	errs := []error{a.ObserveConnections(a.HTTP)}
	if a.config.HTTP.TLS.Enabled() {
		errs = append(errs, a.ObserveCertificate(a.HTTP.Name(), a.HTTP.Certificate))
	}
	return errors.Join(errs...)
}

// ObserveConnections adds the numbers of connections of a server to the metrics. It returns an
// error if a server of the same name was added before.
func (a *App) ObserveConnections(s interface {
	Name() string
	Connections() (open, refused int64)
	RefusedClients() int64
},
) error {
	return errors.Join(a.Telemetry.RegisterConnections(s.Name(), s.Connections), a.Telemetry.RegisterRefusedClients(s.Name(), s.RefusedClients))
}

// components returns the state of each component whose state is known. A component that waits for
// another component is omitted, so that an outage is reported only once.
func (a *App) components() []telemetry.Component {
	ctx, cancel := context.WithTimeout(context.Background(), healthWait)
	defer cancel()
	var components []telemetry.Component
	for _, c := range a.RecentHealth(ctx, healthAge).Checks {
		if c.Status == "unknown" || c.Status == "starting" && c.Err == nil {
			continue
		}
		components = append(components, telemetry.Component{Name: c.Name, Required: !c.Optional, Up: c.Err == nil && c.Status == "ok"})
	}
	return components
}

// ObserveBroker adds the statistics of a server or client of a message broker, such as those of
// natsapi.Client.Stats, to the metrics. Packages natsserver and amqpserver call it for their
// servers. It returns an error if the name was added before.
func (a *App) ObserveBroker(name string, stats func() transport.BrokerStats) error {
	return a.Telemetry.RegisterBroker(name, func() telemetry.BrokerStats { return telemetry.BrokerStats(stats()) }) //nolint:wrapcheck // says where
}

// ObserveCertificate adds the state of a server's certificate to the metrics and to the details of
// readiness. The state has no effect on readiness itself. ObserveCertificate returns an error if a
// certificate of the same server was added before.
func (a *App) ObserveCertificate(server string, state func() (certs.State, bool)) error {
	a.AddStatus("tls_"+server, func() (status, detail string) {
		switch state, ok := state(); {
		case !ok:
			return "starting", ""
		case state.Degraded():
			return "degraded", state.String()
		default:
			return "ok", state.String()
		}
	})
	return a.Telemetry.RegisterCertificate(server, func() telemetry.CertificateStats { //nolint:wrapcheck // says where
		state, ok := state()
		if !ok {
			return telemetry.CertificateStats{NotAfter: math.NaN()}
		}
		return telemetry.CertificateStats{NotAfter: float64(state.NotAfter.Unix()), FailedReloads: state.FailedReloads, ReloadsFailing: state.Broken != nil}
	})
}
