package tasks

import (
	"errors"

	"github.com/chassi-go/chassi/internal/task"
	"github.com/chassi-go/chassi/standard"
)

// Register registers gauges as metrics of app. It returns an error if a metric cannot be
// registered.
func Register(app *standard.App, gauges []*task.Gauge) error {
	var errs []error
	for _, g := range gauges {
		errs = append(errs, app.Telemetry.RegisterGauges(g.Name, g.Help, g.Label, g.Values))
	}
	return errors.Join(errs...)
}
