package browsertest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// connection sends commands to Chromium, and receives the results of the commands and the events of
// pages. Each message is a JSON object followed by a NUL byte.
type connection struct {
	out  io.Writer
	done chan struct{} // closed when nothing more is received

	mu      sync.Mutex
	id      int
	waiting map[int]chan message     // receives the result of a command, by its ID
	pages   map[string]func(message) // handles the events of a session, by its ID
}

type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"` //nolint:tagliatelle // the protocol's name
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

var errEnded = errors.New("browsertest: Chromium has exited")

func newConnection(out io.Writer, in io.Reader) *connection {
	c := &connection{out: out, done: make(chan struct{}), waiting: make(map[int]chan message), pages: make(map[string]func(message))}
	go c.receive(bufio.NewReader(in))
	return c
}

func (c *connection) receive(in *bufio.Reader) {
	defer close(c.done)
	for {
		line, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(line[:len(line)-1], &m) == nil {
			c.dispatch(m)
		}
	}
}

func (c *connection) dispatch(m message) {
	c.mu.Lock()
	result, event := c.waiting[m.ID], c.pages[m.SessionID]
	delete(c.waiting, m.ID)
	c.mu.Unlock()
	switch {
	case result != nil:
		result <- m
	case m.ID == 0 && event != nil:
		event(m)
	}
}

// call sends a command, waits for the response, and decodes its result into result unless result is
// nil. It returns an error if the command cannot be encoded or sent, if the response contains an
// error, if the result cannot be decoded, or if Chromium exits first.
func (c *connection) call(session, method string, params, result any) error {
	encoded, err := json.Marshal(params)
	if err != nil {
		return err
	}
	response := make(chan message, 1)
	c.mu.Lock()
	c.id++
	m := message{ID: c.id, SessionID: session, Method: method}
	if params != nil {
		m.Params = encoded
	}
	c.waiting[m.ID] = response
	err = c.send(m)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-c.done:
		return errEnded
	case m = <-response:
	}
	if m.Error != nil {
		return fmt.Errorf("browsertest: %s: %s", method, m.Error.Message)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(m.Result, result)
}

func (c *connection) send(m message) error {
	line, err := json.Marshal(m)
	if err == nil {
		_, err = c.out.Write(append(line, 0))
	}
	return err
}
