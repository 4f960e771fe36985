package natsapi

import (
	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi/transport"
)

// Stats returns the statistics of the server. They are zero before Start.
func (s *Server) Stats() transport.BrokerStats {
	stats := transport.BrokerStats{
		Connected: map[string]bool{"requests": false, "responses": false}, Reconnects: map[string]uint64{"requests": 0, "responses": 0},
		InFlight: s.inFlight.Len() + s.working.Len(), DeadLettered: make(map[string]uint64),
	}
	for _, w := range s.work {
		stats.DeadLettered[w.queue.Name] = w.dead.Load()
		stats.Connected["work"], stats.Reconnects["work"] = false, 0
	}
	cs := s.conns.Load()
	if cs == nil {
		return stats
	}
	for role, conn := range map[string]*nats.Conn{"requests": cs.requests, "responses": cs.responses, "work": cs.work} {
		if conn != nil {
			stats.Connected[role], stats.Reconnects[role] = conn.IsConnected(), conn.Stats().Reconnects
		}
	}
	if stats.Connected["requests"] {
		stats.Consumers += cs.requests.NumSubscriptions()
	}
	stats.Consumers += s.clients.consumers()
	if stats.Connected["work"] {
		stats.Consumers += len(s.work)
	}
	return stats
}

// Stats returns the statistics of the client.
func (c *Client) Stats() transport.BrokerStats {
	return transport.BrokerStats{
		Connected:  map[string]bool{"client": c.conn.IsConnected()},
		Reconnects: map[string]uint64{"client": c.conn.Stats().Reconnects},
		InFlight:   c.inbox.len(),
	}
}
