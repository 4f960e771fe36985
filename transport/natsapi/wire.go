package natsapi

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
)

// guardedConn is a connection to a NATS server. It rejects data from the server that the client
// library does not handle safely. The library panics if the size of a message is invalid, buffers a
// line of any length, and closes the connection permanently after an unknown error of the server.
// In each of these cases, Read returns an error, and the client reconnects. TLS and WebSocket data
// is passed on unchecked.
type guardedConn struct {
	net.Conn

	line    []byte // the part of the current line that earlier reads have returned
	lines   int    // number of lines before the current line
	payload int    // number of bytes of the current message that have not been read
	http    bool   // whether the lines are the header of an HTTP response
	opaque  bool   // whether the data that follows is not in the NATS protocol
	err     error
}

const (
	maxLine = 64 << 10 // bytes of a line; the default max_control_line of a server is 4 KiB
	maxInfo = 1 << 20  // bytes of an INFO line, which may list all servers of a cluster
	maxData = 64 << 20 // bytes of a message; the largest max_payload of a NATS server
)

// Read implements [net.Conn]. It returns the data before the first invalid byte, and then an error.
func (c *guardedConn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	if good := c.check(p[:n]); good < n {
		return good, nil // the next call returns the error
	}
	return n, err //nolint:wrapcheck // of the connection
}

// check returns the number of valid bytes at the beginning of data. It sets c.err if not all bytes
// are valid.
func (c *guardedConn) check(data []byte) int {
	at := 0
	for at < len(data) && !c.opaque {
		if c.payload > 0 {
			skipped := min(c.payload, len(data)-at)
			c.payload -= skipped
			at += skipped
			continue
		}
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			c.line = append(c.line, data[at:]...)
			if c.err = c.checkLine(c.line); c.err != nil {
				return at
			}
			break
		}
		line := data[at : at+end]
		if len(c.line) > 0 { // it began in an earlier read
			c.line = append(c.line, line...)
			line = c.line
		}
		if c.err = c.checkLine(line); c.err == nil && !c.opaque {
			c.err = c.endLine(bytes.TrimSpace(line))
		}
		c.line = c.line[:0]
		if c.err != nil {
			return at + end
		}
		at += end + 1
	}
	return len(data)
}

// checkLine returns an error if the received part of a line is too long. It also detects TLS, which
// begins after the first line.
func (c *guardedConn) checkLine(line []byte) error {
	longest := maxLine
	switch {
	case len(line) > 0 && line[0] == tlsHandshake && c.lines == 1:
		c.opaque = true
	case len(line) > 0 && (line[0] == 'I' || line[0] == 'i'):
		longest = maxInfo
	}
	if len(line) > longest {
		return fmt.Errorf("the NATS server sent a line of more than %d bytes", longest)
	}
	return nil
}

// tlsHandshake is the first byte that a server sends in a TLS handshake.
const tlsHandshake = 0x16

// Errors of a server after which the client library does not close the connection permanently:
// those whose text is in knownErrors, or begins with an element of knownErrorKind.
var (
	knownErrors    = []string{"stale connection", "maximum connections exceeded", "maximum account active connections exceeded", "unknown protocol operation"}
	knownErrorKind = []string{
		"permissions violation", "maximum subscriptions exceeded",
		"authorization violation", "user authentication expired", "user authentication revoked", "account authentication expired",
	}
)

// endLine processes a complete line. It returns an error if the line contains an invalid message
// size or an unknown error of the server.
func (c *guardedConn) endLine(line []byte) error {
	c.http = c.http || c.lines == 0 && bytes.HasPrefix(line, []byte("HTTP/"))
	c.opaque = c.http && len(line) == 0
	c.lines++
	op, rest := line, []byte(nil)
	if i := bytes.IndexAny(line, " \t"); i >= 0 {
		op, rest = line[:i], line[i+1:]
	}
	switch {
	case isOp(op, "MSG"), isOp(op, "HMSG"):
		return c.beginMessage(rest[bytes.LastIndexAny(rest, " \t")+1:])
	case isOp(op, "-ERR"):
		text := strings.ToLower(strings.Trim(strings.TrimSpace(string(rest)), "'"))
		isKind := func(known string) bool { return strings.HasPrefix(text, known) }
		if !slices.Contains(knownErrors, text) && !slices.ContainsFunc(knownErrorKind, isKind) {
			return fmt.Errorf("the NATS server sent an error: %s", shorten(strings.ToValidUTF8(text, "?")))
		}
	}
	return nil
}

// isOp reports whether op is equal to name, without regard to case.
func isOp(op []byte, name string) bool {
	return len(op) == len(name) && strings.EqualFold(string(op), name) // without an allocation
}

// beginMessage records the size of a message, a decimal number of bytes. It returns an error if
// size is invalid or greater than maxData.
func (c *guardedConn) beginMessage(size []byte) error {
	n := 0
	for _, digit := range size {
		if n = 10*n + int(digit-'0'); digit < '0' || digit > '9' || n > maxData {
			return errSize(size)
		}
	}
	if len(size) == 0 {
		return errSize(size)
	}
	c.payload = n + len("\r\n")
	return nil
}

func errSize(size []byte) error {
	return fmt.Errorf("the NATS server sent a message with the size %.32q, want a number of at most %d bytes", size, maxData)
}
