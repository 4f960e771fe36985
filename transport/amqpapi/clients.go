package amqpapi

import "sync"

// clients counts the requests in flight of each client: a RabbitMQ user, or all requests
// without user_id together.
type clients struct {
	limit int // for one user; half of it for requests without user_id

	mu   sync.Mutex
	busy map[string]*client // by user_id
}

type client struct {
	name     string // as in chassi.Call.PeerName
	requests int
}

// keptClients is the number of users above which users without a request in flight are removed. All
// users have logged in to the broker.
const keptClients = 1000

// enter counts one request of user and returns the name of the client. If the user has reached its
// limit, the request is not counted and ok is false; the name is returned in this case, too.
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

// leave ends the count of one request of user.
func (c *clients) leave(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.busy[user]
	if b.requests--; b.requests == 0 && len(c.busy) > keptClients {
		delete(c.busy, user)
	}
}

// peerName returns the client's name, see chassi.Call.PeerName. RabbitMQ refuses messages whose
// user_id is not the user of the connection.
func peerName(user string) string { return "amqp:" + user }
