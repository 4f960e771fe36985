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

// PostgresDisk is a proxy in front of a PostgreSQL server. It parses the protocol (PostgreSQL
// documentation, "Frontend/Backend Protocol") and delays a COMMIT if its transaction has changed
// rows and has not disabled synchronous_commit, that is, if the server waits for the disk. Locks
// are held meanwhile, as with a slow disk. It accepts connections without TLS.
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

// Postgres starts a proxy in front of the server at host:port on a free port of the loopback
// interface. The caller must close it.
func Postgres(ctx context.Context, server string) (*PostgresDisk, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("slowdisk: %w", err)
	}
	d := &PostgresDisk{server: server, listener: listener, conns: make(map[net.Conn]struct{})}
	d.running.Go(d.accept)
	return d, nil
}

// Addr returns the address of the proxy.
func (d *PostgresDisk) Addr() string { return d.listener.Addr().String() }

// SetDelay sets the additional duration of each commit that waits for the disk.
func (d *PostgresDisk) SetDelay(delay time.Duration) { d.delay.Store(int64(delay)) }

// Commits returns the number of commits that have waited for the disk.
func (d *PostgresDisk) Commits() int64 { return d.commits.Load() }

// RoundTrips returns the number of times that the server was ready for the next query, including
// connecting.
func (d *PostgresDisk) RoundTrips() int64 { return d.trips.Load() }

// Statements returns the text of all statements since the last call, on all connections.
func (d *PostgresDisk) Statements() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := d.statements
	d.statements = nil
	return taken
}

// Close closes the proxy and its connections.
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

// pass forwards messages in one direction, with each, until either side is closed.
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

// connection is the connection of a client. One goroutine reads its requests, another one the
// responses.
type connection struct {
	disk    *PostgresDisk
	started bool
	named   map[string]string // prepared statements
	relaxed atomic.Bool
	changed atomic.Bool
}

const (
	sslRequest    = 80877103
	gssencRequest = 80877104
	maxMessage    = 16 << 20
)

var errTooLong = errors.New("slowdisk: a message is too long")

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
		return errors.New("slowdisk: the URL needs sslmode=disable")
	case !c.started:
		c.started = true
		return writeMessage(w, nil, body)
	}
	c.see(kind, body)
	return writeMessage(w, []byte{kind}, body)
}

// see parses a message of the client: Parse prepares a named statement, Bind runs a prepared
// statement, and Query contains the text of a statement.
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

// commit counts and delays a commit if its transaction has to be written to the disk.
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

// changes reports whether the tag of a completed command means that it has changed rows: "INSERT
// 0 1", "UPDATE 2".
func changes(tag string) bool {
	words := strings.Fields(tag)
	switch {
	case len(words) < 2 || words[len(words)-1] == "0":
		return false
	default:
		return words[0] == "INSERT" || words[0] == "UPDATE" || words[0] == "DELETE"
	}
}

// readBody reads the length of a message, which includes the length itself, and returns the body.
func readBody(r *bufio.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n < 4 || n > maxMessage {
		return nil, errTooLong
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

// text returns the zero-terminated string at the beginning of body, and the rest.
func text(body []byte) (s string, rest []byte) {
	before, rest, _ := bytes.Cut(body, []byte{0})
	return string(before), rest
}
