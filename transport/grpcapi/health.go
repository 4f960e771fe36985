package grpcapi

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthInterval is the maximum age of the readiness that the health service reports, and the
// interval at which Watch checks it.
const healthInterval = time.Second

// health implements the service grpc.health.v1.Health, which reports the readiness of the server.
type health struct {
	healthpb.UnimplementedHealthServer

	ready    func(context.Context) bool
	known    map[string]bool
	draining chan struct{}
	drained  atomic.Bool

	mu       sync.Mutex
	asked    time.Time
	response bool
}

func newHealth(ready func(context.Context) bool) *health {
	if ready == nil {
		ready = func(context.Context) bool { return true }
	}
	return &health{ready: ready, known: map[string]bool{"": true}, draining: make(chan struct{})}
}

func (h *health) register(server grpc.ServiceRegistrar, services []*chassi.Service) {
	for _, s := range services {
		h.known[s.Name()] = true
	}
	healthpb.RegisterHealthServer(server, h)
}

func (h *health) drain() {
	if !h.drained.Swap(true) {
		close(h.draining)
	}
}

// status returns the serving status of the server. It calls ready at most once per healthInterval,
// which limits the effect of unauthenticated probes.
func (h *health) status(ctx context.Context) healthpb.HealthCheckResponse_ServingStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.drained.Load() {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	if time.Since(h.asked) >= healthInterval {
		h.response, h.asked = h.ready(context.WithoutCancel(ctx)), time.Now()
	}
	if !h.response {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}

// Check returns the current status of the server, or a NotFound error if the service is unknown.
func (h *health) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if !h.known[r.GetService()] {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &healthpb.HealthCheckResponse{Status: h.status(ctx)}, nil
}

// Watch sends the current status at once, and the new status after each change. When the server
// drains, Watch returns an Unavailable error. It also returns an error if the client cancels the
// call or a status cannot be sent.
func (h *health) Watch(r *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	last := healthpb.HealthCheckResponse_UNKNOWN
	draining := h.draining
	for {
		now := healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		if h.known[r.GetService()] {
			now = h.status(stream.Context())
		}
		if now != last {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			last = now
		}
		if h.drained.Load() {
			return status.Error(codes.Unavailable, "the server is stopping") // an open stream would delay the stop
		}
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-draining:
			draining = nil
		case <-ticker.C:
		}
	}
}
