package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/chassi-go/chassi/internal/outage"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// spanCounter knows the way of each sampled span: it waits, and then is exported,
// was refused for want of room, or failed to be exported.
type spanCounter struct {
	waiting                   atomic.Int64
	exported, refused, failed atomic.Uint64
	outage                    *outage.Log // of the collector
}

// spanProcessor bounds and counts what the SDK's batch processor behind it may
// hold. That one drops what does not fit, too, but tells nobody.
type spanProcessor struct {
	sdktrace.SpanProcessor
	*spanCounter

	room int64
}

// newSpanProcessor exports until life ends; after that every export fails at
// once. Room is for the spans that wait, those being exported included.
func newSpanProcessor(life context.Context, e sdktrace.SpanExporter, room int, logger *slog.Logger) *spanProcessor {
	counter := new(spanCounter)
	counter.outage = outage.New(logger, slog.LevelWarn, "spans were not delivered to the collector", "spans are delivered to the collector again")
	exporter := &spanExporter{SpanExporter: e, spanCounter: counter, life: life}
	return &spanProcessor{
		SpanProcessor: sdktrace.NewBatchSpanProcessor(exporter, sdktrace.WithMaxQueueSize(room)),
		spanCounter:   counter,
		room:          int64(room),
	}
}

// OnEnd implements [sdktrace.SpanProcessor]. It does not block.
func (p *spanProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if p.waiting.Add(1) > p.room {
		p.waiting.Add(-1)
		p.refused.Add(1)
		return
	}
	p.SpanProcessor.OnEnd(s)
}

// spanExporter keeps errors to itself: the batch processor would hand them to
// OpenTelemetry's global error handler.
type spanExporter struct {
	sdktrace.SpanExporter
	*spanCounter

	life context.Context
}

// ExportSpans implements [sdktrace.SpanExporter]. It returns nil.
func (e *spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.life, cancel)()

	err := e.life.Err()
	if err == nil {
		err = e.SpanExporter.ExportSpans(ctx, spans)
	}
	e.waiting.Add(-int64(len(spans)))
	if err == nil {
		e.exported.Add(uint64(len(spans)))
		e.outage.Succeeded()
		return nil
	}
	failed := e.failed.Add(uint64(len(spans)))
	e.outage.Failed(errors.New(limit(err.Error(), 512)), "failed_in_all", failed)
	return nil
}

// limit cuts text to n bytes.
func limit(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return text[:n] + "..."
}

var (
	_ sdktrace.SpanProcessor = (*spanProcessor)(nil)
	_ sdktrace.SpanExporter  = (*spanExporter)(nil)
)
