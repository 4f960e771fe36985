// Package grpcserver adds gRPC to an App of package standard. It is a separate package so that
// services without gRPC do not link it.
package grpcserver

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/transport/grpcapi"
)

// Config configures gRPC. It is the type of the field with the tag `config:"grpc"` in the
// configuration of a program.
type Config struct{ grpcapi.Config }

// off is the address that disables gRPC.
const off = "off"

// Add makes app serve all of its services over gRPC, unless c.Addr is "off". The settings of c must
// be in the group "grpc". If the TLS files are unusable, [standard.App.Run] returns an error.
func Add(app *standard.App, c Config) {
	if c.Addr == off {
		return
	}
	app.Listens(listener(c.Config))
	app.PrivateTLS("grpc.tls", c.TLS)
	app.Descriptors("grpc.max_connections", c.MaxConnections, c.MaxConnections)
	if c.TLS.Enabled() {
		app.Fail(standard.CheckTLS("grpc.tls", c.TLS))
	}
	c.Logger, c.Streams = app.Logger, app.Streams()
	c.Ready = func(ctx context.Context) bool { return app.RecentHealth(ctx, time.Second).Ready }
	app.AddTransport(standard.Transport{New: func(middleware []chassi.Middleware) (chassi.Transport, error) {
		server := grpcapi.New(c.Config, middleware...)
		errs := []error{app.ObserveConnections(server)}
		if c.TLS.Enabled() {
			errs = append(errs, app.ObserveCertificate(server.Name(), server.Certificate))
		}
		return server, errors.Join(errs...)
	}})
}

// listener returns the description of the listen address in c. If there are trusted proxies, they
// are assumed to terminate TLS.
func listener(c grpcapi.Config) standard.Listener {
	l := standard.Listener{Name: "grpc", Setting: "grpc.addr", Addr: c.Addr}
	if !c.TLS.Enabled() && len(c.TrustedProxies) == 0 {
		l.Risk = "passwords and tokens cross the network in clear: gRPC without TLS can be reached from other machines"
		l.Fix = "set grpc.tls.cert_file and grpc.tls.key_file, or grpc.trusted_proxies if TLS ends at a proxy, or accept it: exposure.accepted=grpc"
	}
	return l
}
