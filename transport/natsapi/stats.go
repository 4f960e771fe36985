package natsapi

import (
	"github.com/chassi-go/chassi/transport/message"
	"github.com/nats-io/nats.go"
)

// Stats returns the figures of the server. They are zero before Start.
func (s *Server) Stats() message.BrokerStats {
	stats := message.BrokerStats{
		Connected: map[string]bool{"requests": false, "answers": false}, Reconnects: map[string]uint64{"requests": 0, "answers": 0},
		DeadLettered: make(map[string]uint64),
	}
	for _, sv := range s.services {
		for _, e := range sv.endpoints {
			stats.InFlight += int(e.inFlight.Load())
		}
	}
	for _, w := range s.work {
		stats.InFlight += w.calls.Len()
		stats.DeadLettered[w.queue.Name] = w.dead.Load()
		stats.Connected["work"], stats.Reconnects["work"] = false, 0
	}
	cs := s.conns.Load()
	if cs == nil {
		return stats
	}
	for role, conn := range map[string]*nats.Conn{"requests": cs.requests, "answers": cs.answers, "work": cs.work} {
		if conn != nil {
			stats.Connected[role], stats.Reconnects[role] = conn.IsConnected(), conn.Stats().Reconnects
		}
	}
	if stats.Connected["requests"] {
		stats.Consumers += cs.requests.NumSubscriptions()
	}
	if stats.Connected["work"] {
		stats.Consumers += len(s.work)
	}
	return stats
}

// Stats returns the figures of the client.
func (c *Client) Stats() message.BrokerStats {
	return message.BrokerStats{
		Connected:  map[string]bool{"client": c.conn.IsConnected()},
		Reconnects: map[string]uint64{"client": c.conn.Stats().Reconnects},
		InFlight:   c.inbox.len(),
	}
}
