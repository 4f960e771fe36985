package amqpapi

import "github.com/chassi-go/chassi/transport"

// Stats returns the statistics of the server. They are zero before Start.
func (s *Server) Stats() transport.BrokerStats {
	stats := transport.BrokerStats{
		Connected: map[string]bool{"requests": false, "responses": false}, Reconnects: map[string]uint64{"requests": 0, "responses": 0},
		InFlight: s.calls.Len() + s.working.Len(), DeadLettered: make(map[string]uint64),
	}
	for _, w := range s.work {
		stats.DeadLettered[w.queue.Name] = w.dead.Load()
	}
	if links := s.links.Load(); links != nil {
		for role, l := range *links {
			stats.Connected[role], stats.Reconnects[role] = l.stats()
		}
	}
	if stats.Connected["requests"] {
		stats.Consumers = len(s.queues) + len(s.work)
	}
	return stats
}

// Stats returns the statistics of the client.
func (c *Client) Stats() transport.BrokerStats {
	connected, reconnects := c.link.stats()
	return transport.BrokerStats{
		Connected: map[string]bool{"client": connected}, Reconnects: map[string]uint64{"client": reconnects},
		InFlight: int(c.pending.Load()),
	}
}
