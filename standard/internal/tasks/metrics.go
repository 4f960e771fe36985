package tasks

import (
	"errors"

	"github.com/chassi-go/chassi/internal/task"
	"github.com/chassi-go/chassi/standard"
)

// Register registers the metrics of an engine.
func Register(app *standard.App, e *task.Engine) error {
	gauge := func(name, help, label string, values func(task.Stats) map[string]float64) error {
		return app.Telemetry.RegisterGauges(name, help, label, func() map[string]float64 { return values(e.Stats()) })
	}
	return errors.Join(
		gauge("tasks", "Events and jobs that wait or run, by state.", "state", func(s task.Stats) map[string]float64 { return s.Tasks }),
		gauge("tasks_oldest_seconds", "Time since the oldest event or job that is ready should have begun.", "state", func(s task.Stats) map[string]float64 {
			return map[string]float64{"ready": s.Oldest.Seconds()}
		}),
		gauge("dead_letters", "Events and jobs that failed for good, by subscription or job.", "queue", func(s task.Stats) map[string]float64 { return s.Dead }),
	)
}
