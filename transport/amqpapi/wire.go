package amqpapi

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
)

// plainConn is a connection from which messages come without what the client library
// cannot read: it gives the whole connection up at a header whose tables are nested
// deeper than 32, at one with too many entries, and at types that it does not know.
// RabbitMQ passes all of them on, and would deliver the message again, and again. Only
// headers that are text are of use to us, so that the others are left out.
type plainConn struct {
	net.Conn

	timedOut atomic.Bool // the deadline of the login has passed
	in       *bufio.Reader
	frame    []byte // the last frame that was read
	rest     []byte // of it, what has not been handed out
}

func newPlainConn(c net.Conn) *plainConn {
	return &plainConn{Conn: c, in: bufio.NewReaderSize(c, 64<<10)}
}

// Frames (AMQP 0.9.1, section 4.2.3): a type, a channel, a length, so many bytes, an end.
const (
	frameHead   = 7
	contentType = 2       // of frames with the properties of a message
	maxFrame    = 1 << 20 // the client library asks RabbitMQ for 128 KiB
	protocol    = 'A'     // begins the answer to a client of another version, which is no frame
)

// Read hands out what comes, frame by frame.
func (c *plainConn) Read(p []byte) (n int, err error) {
	if len(c.rest) == 0 {
		if err = c.next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *plainConn) next() error {
	head, err := c.in.Peek(frameHead)
	if err != nil {
		c.timedOut.Store(errors.Is(err, os.ErrDeadlineExceeded))
		return err //nolint:wrapcheck // of the connection
	}
	size := int(binary.BigEndian.Uint32(head[3:]))
	if head[0] == protocol || size > maxFrame { // the library makes an error of it
		c.frame = append(c.frame[:0], head...)
		_, err = c.in.Discard(frameHead)
		c.rest = c.frame
		return err //nolint:wrapcheck // of the connection
	}
	c.frame = slices.Grow(c.frame[:0], frameHead+size+1)[:frameHead+size+1]
	if _, err := io.ReadFull(c.in, c.frame); err != nil {
		return err //nolint:wrapcheck // of the connection
	}
	c.rest = c.frame
	if c.frame[0] == contentType {
		c.rest = plainFrame(c.frame)
	}
	return nil
}

// plainFrame returns a frame with properties as the client library can read it: the same
// one, if it can already.
func plainFrame(frame []byte) []byte {
	payload := frame[frameHead : len(frame)-1]
	plain, same := plainProperties(payload)
	if same {
		return frame
	}
	out := make([]byte, 0, frameHead+len(plain)+1)
	out = append(out, frame[:3]...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(plain)))
	out = append(out, plain...)
	return append(out, frame[len(frame)-1])
}

// Properties (AMQP 0.9.1, sections 4.2.6.1 and 1.8.1): class, weight and size of the body,
// a flag for each property from the highest bit on, and those that are there.
const (
	propertiesHead = 14
	headersFlag    = 13
	lastFlag       = 3 // app-id; below it are one that is reserved, and more flags
)

// widths are the lengths of the properties by their flag; 0 is a short string.
var widths = [16]int{12: 1, 11: 1, 6: 8}

// plainProperties returns properties with headers that are text, and with none at all if
// they are malformed.
func plainProperties(payload []byte) (plain []byte, same bool) {
	if len(payload) < propertiesHead {
		return payload, true // the library makes an error of it
	}
	flags := binary.BigEndian.Uint16(payload[propertiesHead-2:])
	var before, table, after []byte // of the payload
	var entries []entry
	all, at, end := true, propertiesHead, propertiesHead
	for flag := 15; flag >= lastFlag; flag-- {
		if flags&(1<<flag) == 0 {
			continue
		}
		width := widths[flag]
		switch {
		case flag == headersFlag && len(payload)-at >= 4:
			width = 4 + int(binary.BigEndian.Uint32(payload[at:]))
		case flag == headersFlag:
			width = len(payload) // too long
		case width == 0 && at < len(payload):
			width = 1 + int(payload[at])
		case width == 0:
			width = len(payload)
		}
		if width > len(payload)-at {
			return none(payload), false
		}
		if flag == headersFlag {
			before, table = payload[propertiesHead:at], payload[at+4:at+width]
			entries, all = textEntries(table)
			after = payload[at+width:]
		}
		at += width
		end = at
	}
	if flags&1 != 0 { // a second word of flags, which nothing uses
		return none(payload), false
	}
	if all && end == len(payload) && flags&(1<<lastFlag-1) == 0 {
		return payload, true
	}
	out := slices.Clone(payload[:propertiesHead])
	binary.BigEndian.PutUint16(out[propertiesHead-2:], flags&^(1<<lastFlag-1))
	if table == nil {
		return append(out, payload[propertiesHead:end]...), false
	}
	out = append(out, before...)
	size := 0
	for _, e := range entries {
		size += len(e)
	}
	out = binary.BigEndian.AppendUint32(out, uint32(size))
	for _, e := range entries {
		out = append(out, e...)
	}
	return append(out, after[:len(after)-(len(payload)-end)]...), false
}

// none are properties of which there are none.
func none(payload []byte) []byte {
	out := slices.Clone(payload[:propertiesHead])
	out[propertiesHead-2], out[propertiesHead-1] = 0, 0
	return out
}

// entry is a name with a type and a value, as it stands in a table.
type entry []byte

// textEntries returns the entries of a table that are text, up to one more than a
// request may have, and whether those are all. What stands behind an entry of unknown
// length is lost. It does not descend into tables.
func textEntries(table []byte) (entries []entry, all bool) {
	all = true
	for len(table) > 0 {
		name := 1 + int(table[0])
		if len(table) <= name {
			return entries, false
		}
		size := valueSize(table[name], table[name+1:])
		if size < 0 || size > len(table)-name-1 {
			return entries, false
		}
		whole := table[:name+1+size]
		switch {
		case table[name] != 'S':
			all = false
		case len(entries) > maxHeaders:
			return entries, false
		default:
			entries = append(entries, whole)
		}
		table = table[len(whole):]
	}
	return entries, all
}

// valueSize returns the length of a value of a table, -1 for a type that is not known
// (RabbitMQ's errata to AMQP 0.9.1, section 3).
func valueSize(kind byte, value []byte) int {
	switch kind {
	case 'V':
		return 0
	case 't', 'b', 'B':
		return 1
	case 's', 'u':
		return 2
	case 'I', 'i', 'f':
		return 4
	case 'D':
		return 5
	case 'l', 'L', 'd', 'T':
		return 8
	case 'S', 'x', 'A', 'F':
		if len(value) < 4 {
			return -1
		}
		return 4 + int(binary.BigEndian.Uint32(value))
	default:
		return -1
	}
}
