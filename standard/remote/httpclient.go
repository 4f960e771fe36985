package remote

import (
	"net/http"

	"github.com/chassi-go/chassi/client/httpclient"
	"github.com/chassi-go/chassi/middleware/metrics"
	"github.com/chassi-go/chassi/middleware/tracing"
	"github.com/chassi-go/chassi/standard"
)

// HTTPClient returns a client of a third-party HTTP API, with spans and metrics. The argument name
// is the name of the API in metrics and the log, such as "payments". HTTPClient returns an error if
// the metrics cannot be registered.
func HTTPClient(app *standard.App, name string, c httpclient.Config) (*http.Client, error) {
	observe, err := metrics.HTTPClient(app.Telemetry.Registry, name)
	if err != nil {
		return nil, err //nolint:wrapcheck // says which
	}
	return &http.Client{Transport: httpclient.New(httpclient.Options{
		Name: name, Config: c, Observe: observe, Logger: app.Logger,
		Trace: tracing.HTTPClient(app.Telemetry.Tracer, app.Telemetry.Propagator),
	})}, nil
}
