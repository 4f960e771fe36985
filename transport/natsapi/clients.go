package natsapi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// subscription is a subscription of a server, with the connection that it uses.
type subscription struct {
	*nats.Subscription
	conn *nats.Conn
}

type subscriptions []subscription

// Limits of the messages that one subscription buffers. Further messages are dropped.
const (
	maxPendingMessages = 8192
	maxPendingBytes    = 16 << 20
)

// add subscribes to subject or, if client is not empty, to from.CLIENT.SUBJECT, and adds the
// subscription to s. For each message, accept is called with the name of the client, or "" if the
// client has no name. If group is not empty, each message is delivered to only one subscriber of
// the queue group.
func (s *subscriptions) add(conn *nats.Conn, client, subject, group string, accept func(name string, m *nats.Msg)) error {
	full, receive := subject, func(m *nats.Msg) { accept("", m) }
	if client != "" {
		full = fromPrefix + client + "." + subject
		receive = func(m *nats.Msg) { accept(m.Subject[len(fromPrefix):len(m.Subject)-len(subject)-1], m) }
	}
	sub, err := conn.QueueSubscribe(full, group, receive)
	if err == nil {
		*s = append(*s, subscription{sub, conn})
		err = sub.SetPendingLimits(maxPendingMessages, maxPendingBytes)
	}
	if err != nil {
		return fmt.Errorf("natsapi: subscribe to %s: %w", full, err)
	}
	return nil
}

// drain ends s and waits until all messages that have arrived have been accepted. It stops waiting
// if the connection is lost. It returns an error if the client library cannot drain s, or if ctx
// is done first.
func (s subscription) drain(ctx context.Context) error {
	closed := make(chan struct{})
	s.SetClosedHandler(func(string) { close(closed) })
	if err := s.Drain(); err != nil {
		if !s.conn.IsConnected() || !s.IsValid() {
			return nil
		}
		return fmt.Errorf("natsapi: drain the subscription to %s: %w", s.Subject, err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for s.conn.IsConnected() { // a server that is away ends no subscription
		select {
		case <-closed:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("natsapi: drain the subscription to %s: %w", s.Subject, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// clients holds the connections for the clients of a [Broker]. The requests of each client arrive
// over a separate connection, so that a client that floods the service fills only this connection.
type clients struct {
	stop func() // stops following changes of the clients; nil before followClients

	mu     sync.Mutex
	frozen bool
	byName map[string]clientConn
}

type clientConn struct {
	conn *nats.Conn
	subs subscriptions
}

// followClients subscribes to the requests of all present clients of the Broker, and of clients
// that are added later.
func (s *Server) followClients() (err error) {
	s.clients.byName = make(map[string]clientConn)
	s.clients.stop, err = s.config.Broker.Clients(s.addClient, s.clients.remove)
	return err //nolint:wrapcheck // says where
}

func (s *Server) addClient(name string) error {
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	if _, ok := s.clients.byName[name]; ok || s.clients.frozen {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.base, 5*time.Second)
	defer cancel()
	conn, err := s.connect(ctx, s.config.URL, "requests of "+name, s.config.Broker.RequestOptions())
	if err != nil {
		return err
	}
	c := clientConn{conn: conn}
	if err := s.subscribeAll(conn, name, &c.subs); err != nil {
		conn.Close()
		return err
	}
	s.clients.byName[name] = c
	return nil
}

func (c *clients) remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client, ok := c.byName[name]; ok && !c.frozen {
		client.conn.Close()
		delete(c.byName, name)
	}
}

// consumers returns the number of subscriptions of the connections that are established.
func (c *clients) consumers() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, client := range c.byName {
		if client.conn.IsConnected() {
			n += client.conn.NumSubscriptions()
		}
	}
	return n
}

// freeze stops following changes of the clients, and returns the subscriptions for the present
// clients.
func (c *clients) freeze() (subs subscriptions) {
	if c.stop == nil {
		return nil
	}
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = true
	for _, client := range c.byName {
		subs = append(subs, client.subs...)
	}
	return subs
}

// close stops following changes of the clients, and closes all connections.
func (c *clients) close() {
	c.freeze()
	for _, client := range c.byName {
		client.conn.Close()
	}
}

// reset prepares c for another Start, after close.
func (c *clients) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop, c.frozen, c.byName = nil, false, nil
}
