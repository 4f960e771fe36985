package slowdisk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// PostgresDisk is a proxy in front of a PostgreSQL server that simulates a slow disk. It parses the
// protocol (PostgreSQL documentation, "Frontend/Backend Protocol") and delays each COMMIT for which
// the server waits for the disk: the COMMIT of a transaction that has changed rows and has not
// disabled synchronous_commit. The transaction holds its locks during the delay, as with a slow
// disk, unless the client sent COMMIT before the response to a change. A statement that commits by
// itself, without BEGIN and COMMIT, is not delayed. The proxy accepts only connections without TLS.
type PostgresDisk struct {
	delay, commits atomic.Int64
	trips          atomic.Int64
	server         string
	listener       net.Listener
	running        sync.WaitGroup

	mu         sync.Mutex
	statements []string
	conns      map[net.Conn]struct{}
}

// Postgres starts a proxy that listens on a free port of the loopback interface and forwards
// connections to server, a host:port. It returns an error if it cannot listen. The caller must
// close the proxy.
func Postgres(ctx context.Context, server string) (*PostgresDisk, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("slowdisk: %w", err)
	}
	d := &PostgresDisk{server: server, listener: listener, conns: make(map[net.Conn]struct{})}
	d.running.Go(d.accept)
	return d, nil
}

// Addr returns the address of the proxy as host:port.
func (d *PostgresDisk) Addr() string { return d.listener.Addr().String() }

// SetDelay sets the additional duration of each commit that waits for the disk.
func (d *PostgresDisk) SetDelay(delay time.Duration) { d.delay.Store(int64(delay)) }

// Commits returns the number of commits that have waited for the disk.
func (d *PostgresDisk) Commits() int64 { return d.commits.Load() }

// RoundTrips returns the number of times that the server has reported that it is ready for the next
// query. Connecting counts as one round trip.
func (d *PostgresDisk) RoundTrips() int64 { return d.trips.Load() }

// Statements returns the text of the statements that clients have run, on all connections, since
// the last call to Statements.
func (d *PostgresDisk) Statements() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := d.statements
	d.statements = nil
	return taken
}

// Close closes the proxy and its connections, and waits until its goroutines have ended. It returns
// the error of closing the listener.
func (d *PostgresDisk) Close() error {
	err := d.listener.Close()
	d.mu.Lock()
	for conn := range d.conns {
		conn.Close()
	}
	d.mu.Unlock()
	d.running.Wait()
	return err
}

func (d *PostgresDisk) accept() {
	for {
		client, err := d.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", d.server)
		if err != nil {
			client.Close()
			continue
		}
		d.mu.Lock()
		d.conns[client], d.conns[server] = struct{}{}, struct{}{}
		d.mu.Unlock()
		c := &connection{disk: d, named: make(map[string]string)}
		d.running.Go(func() { d.pass(server, client, c.fromClient) })
		d.running.Go(func() { d.pass(client, server, c.fromServer) })
	}
}

// pass forwards messages from one connection to the other. It calls the function each, which
// forwards one message, until that function returns an error, and then closes both connections.
func (d *PostgresDisk) pass(to, from net.Conn, each func(r *bufio.Reader, w io.Writer) error) {
	r := bufio.NewReader(from)
	for {
		if err := each(r, to); err != nil {
			break
		}
	}
	to.Close()
	from.Close()
	d.mu.Lock()
	delete(d.conns, from)
	d.mu.Unlock()
}

// connection is the state of a client connection. One goroutine reads the requests of the client,
// and another reads the responses of the server.
type connection struct {
	disk    *PostgresDisk
	started bool
	named   map[string]string // text of the prepared statements, by name
	relaxed atomic.Bool
	changed atomic.Bool
}

const (
	sslRequest    = 80877103
	gssencRequest = 80877104
	maxMessage    = 16 << 20
)

func (c *connection) fromClient(r *bufio.Reader, w io.Writer) error {
	var kind byte
	if c.started {
		var err error
		if kind, err = r.ReadByte(); err != nil {
			return err
		}
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	switch {
	case !c.started && len(body) >= 4 && (binary.BigEndian.Uint32(body) == sslRequest || binary.BigEndian.Uint32(body) == gssencRequest):
		return errors.New("slowdisk: the client requests encryption: its URL needs sslmode=disable")
	case !c.started:
		c.started = true
		return writeMessage(w, nil, body)
	}
	c.see(kind, body)
	return writeMessage(w, []byte{kind}, body)
}

// see interprets a message of the client. Parse prepares a statement, Bind counts as running a
// prepared statement, and Query runs the statement that it contains. Other messages are ignored.
func (c *connection) see(kind byte, body []byte) {
	switch kind {
	case 'P':
		name, rest := text(body)
		c.named[name], _ = text(rest)
	case 'B':
		_, rest := text(body)
		name, _ := text(rest)
		c.run(c.named[name])
	case 'Q':
		query, _ := text(body)
		c.run(query)
	}
}

func (c *connection) run(query string) {
	c.disk.mu.Lock()
	c.disk.statements = append(c.disk.statements, query)
	c.disk.mu.Unlock()
	switch words := strings.Fields(strings.ToLower(query)); {
	case len(words) == 0:
	case words[0] == "begin":
		c.relaxed.Store(false)
		c.changed.Store(false)
	case strings.HasPrefix(strings.Join(words, " "), "set local synchronous_commit = off"):
		c.relaxed.Store(true)
	case words[0] == "commit":
		c.commit()
	}
}

// commit counts and delays a commit if the server has to wait for the disk.
func (c *connection) commit() {
	if c.changed.Swap(false) && !c.relaxed.Load() {
		c.disk.commits.Add(1)
		time.Sleep(time.Duration(c.disk.delay.Load()))
	}
}

func (c *connection) fromServer(r *bufio.Reader, w io.Writer) error {
	kind, err := r.ReadByte()
	if err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if kind == 'Z' {
		c.disk.trips.Add(1)
	}
	switch tag, _ := text(body); {
	case kind != 'C':
	case changes(tag):
		c.changed.Store(true)
	case tag == "COMMIT": // sent before the server said what was changed
		c.commit()
	}
	return writeMessage(w, []byte{kind}, body)
}

// changes reports whether a completed command with the given tag, such as "INSERT 0 1" or "UPDATE 2",
// has changed rows.
func changes(tag string) bool {
	words := strings.Fields(tag)
	switch {
	case len(words) < 2 || words[len(words)-1] == "0":
		return false
	default:
		return words[0] == "INSERT" || words[0] == "UPDATE" || words[0] == "DELETE"
	}
}

// readBody reads the length and the body of a message and returns the body. The length includes its
// own four bytes.
func readBody(r *bufio.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n < 4 || n > maxMessage {
		return nil, fmt.Errorf("slowdisk: a message has the length %d: want 4 to %d", n, maxMessage)
	}
	body := make([]byte, n-4)
	_, err := io.ReadFull(r, body)
	return body, err
}

func writeMessage(w io.Writer, kind, body []byte) error {
	message := binary.BigEndian.AppendUint32(bytes.Clone(kind), uint32(len(body)+4))
	_, err := w.Write(append(message, body...))
	return err
}

// text returns the zero-terminated string at the beginning of body, and the bytes after it.
func text(body []byte) (s string, rest []byte) {
	before, rest, _ := bytes.Cut(body, []byte{0})
	return string(before), rest
}
