package amqpapi

import "sync"

// clients counts the requests that are being handled for each client: a RabbitMQ user,
// or all requests without user_id together.
type clients struct {
	limit int // for one user; half of it for those without

	mu   sync.Mutex
	busy map[string]*client // by user_id
}

type client struct {
	name     string // as in chassi.Call.PeerName
	requests int
}

// keptClients bounds how many users are remembered that have no request now. All of
// them have logged in to the broker.
const keptClients = 1000

// enter counts one request of user in; ok is false when the user has as many as it may.
// The name is the client's either way.
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

// leave counts it out.
func (c *clients) leave(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.busy[user]
	if b.requests--; b.requests == 0 && len(c.busy) > keptClients {
		delete(c.busy, user)
	}
}

// peerName is the client's name, see chassi.Call.PeerName. RabbitMQ takes no message
// whose user_id is not the user of the connection.
func peerName(user string) string { return "amqp:" + user }
