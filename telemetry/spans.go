package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/redact"
)

// spanCounter counts the sampled spans of one exporter: those that wait for export,
// those that were exported, those that were refused because the queue was full, and
// those whose export failed.
type spanCounter struct {
	waiting                   atomic.Int64
	exported, refused, failed atomic.Uint64
	outage                    *outage.Log // of the collector
}

// spanProcessor limits and counts the spans that wait in the SDK's batch processor, which
// alone would drop spans without counting them.
type spanProcessor struct {
	sdktrace.SpanProcessor
	*spanCounter

	capacity int64
}

// newSpanProcessor returns a processor that exports spans with e until life is done. After
// that, every export fails at once. The capacity is the maximum number of waiting
// spans, including those being exported.
func newSpanProcessor(life context.Context, e sdktrace.SpanExporter, capacity int, logger *slog.Logger) *spanProcessor {
	counter := new(spanCounter)
	counter.outage = outage.New(logger, slog.LevelWarn, "spans were not delivered to the collector", "spans are delivered to the collector again")
	exporter := &spanExporter{SpanExporter: e, spanCounter: counter, life: life}
	return &spanProcessor{
		SpanProcessor: sdktrace.NewBatchSpanProcessor(exporter, sdktrace.WithMaxQueueSize(capacity)),
		spanCounter:   counter,
		capacity:      int64(capacity),
	}
}

// OnEnd implements [sdktrace.SpanProcessor]. If capacity spans are waiting, it counts
// the span as refused. It does not block.
func (p *spanProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if p.waiting.Add(1) > p.capacity {
		p.waiting.Add(-1)
		p.refused.Add(1)
		return
	}
	p.SpanProcessor.OnEnd(s)
}

// spanExporter exports spans, and counts and logs its errors itself: the batch processor would
// pass them to OpenTelemetry's global error handler.
type spanExporter struct {
	sdktrace.SpanExporter
	*spanCounter

	life context.Context
}

// ExportSpans implements [sdktrace.SpanExporter]. It counts the spans as exported or
// failed, and always returns nil.
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
	e.outage.Failed(errors.New(redact.Text(err.Error(), 512)), "failed_in_all", failed)
	return nil
}

var (
	_ sdktrace.SpanProcessor = (*spanProcessor)(nil)
	_ sdktrace.SpanExporter  = (*spanExporter)(nil)
)
