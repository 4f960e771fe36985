package amqpapi

import "sync"

// clients counts the requests in flight of each client. Each RabbitMQ user is a client; all
// requests without user_id count as those of a single client.
type clients struct {
	limit int // maximum for one user; half of it for all requests without user_id

	mu   sync.Mutex
	busy map[string]*client // clients by user_id
}

type client struct {
	name     string // the value of chassi.Call.PeerName
	requests int
}

// keptClients is the number of entries in clients.busy above which an entry is removed when its
// last request ends. Except for the entry of requests without user_id, every entry belongs to a
// user that the broker has authenticated, or that a user with the tag impersonator has named.
const keptClients = 1000

// enter counts a request of user and returns the name of the client. If user has already reached
// the limit, the request is not counted and ok is false, but name is valid.
func (c *clients) enter(user string) (name string, ok bool) {
	limit := c.limit
	if user == "" {
		limit = max(limit/2, 1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.busy[user]
	if b == nil {
		b = &client{name: peerName(user)}
		c.busy[user] = b
	}
	if b.requests >= limit {
		return b.name, false
	}
	b.requests++
	return b.name, true
}

// leave records the end of a request of user that enter has counted.
func (c *clients) leave(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.busy[user]
	if b.requests--; b.requests == 0 && len(c.busy) > keptClients {
		delete(c.busy, user)
	}
}

// peerName returns the value of chassi.Call.PeerName for the client with the user_id user. The name
// is authenticated, because RabbitMQ refuses messages whose user_id is not the user of the
// connection, unless that user has the tag impersonator. For requests without user_id, the name is
// "amqp:".
func peerName(user string) string { return "amqp:" + user }
