package amqpapi

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
)

// plainConn is a connection to the broker that removes message headers that the client library
// cannot read. The library closes the whole connection if the headers contain tables nested deeper
// than 32, too many entries, or unknown types. RabbitMQ accepts such messages, and would redeliver
// them indefinitely. plainConn keeps headers that are text, converts numbers and booleans to text,
// and removes all other headers.
type plainConn struct {
	net.Conn

	timedOut atomic.Bool // whether the deadline of the login has passed
	in       *bufio.Reader
	frame    []byte            // the last frame that was read
	rest     []byte            // the unread part of frame
	confirms map[uint16]uint64 // number of the last confirmed message, by channel
}

func newPlainConn(c net.Conn) *plainConn {
	return &plainConn{Conn: c, in: bufio.NewReaderSize(c, 64<<10), confirms: make(map[uint16]uint64)}
}

// Constants of frames. A frame consists of a type, a channel, a length, a payload and an end octet
// (AMQP 0.9.1, section 4.2.3).
const (
	frameHead   = 7         // bytes before the payload
	contentType = 2         // type of a frame with the properties of a message
	methodType  = 1         // type of a frame with a method
	maxFrame    = 1 << 20   // maximum bytes of a payload; more than frameSize
	maxBody     = 512 << 20 // maximum bytes of a body; the largest max_message_size of RabbitMQ
	maxSkipped  = 1 << 20   // number of messages that a confirmation may be ahead of the previous one
	protocol    = 'A'       // first byte of the response to an unsupported version, which is not a frame
)

// Read implements [net.Conn]. It reads the filtered frames.
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
	if size > maxFrame && head[0] != protocol {
		return fmt.Errorf("the broker sent a frame of %d bytes; at most %d are accepted", size, maxFrame)
	}
	if head[0] == protocol { // the library returns an error for it
		c.frame = append(c.frame[:0], head...)
		_, err = c.in.Discard(frameHead)
		c.rest = c.frame
		return err //nolint:wrapcheck // of the connection
	}
	c.frame = slices.Grow(c.frame[:0], frameHead+size+1)[:frameHead+size+1]
	if _, err := io.ReadFull(c.in, c.frame); err != nil {
		return err //nolint:wrapcheck // of the connection
	}
	if err := c.refuse(c.frame[frameHead : len(c.frame)-1]); err != nil {
		return err
	}
	c.rest = c.frame
	if c.frame[0] == contentType {
		c.rest = plainFrame(c.frame)
	}
	return nil
}

// The AMQP methods that plainConn.refuse inspects, as the IDs of their class and method (AMQP 0.9.1,
// section 1.1, and RabbitMQ's extensions).
const (
	channelOpenOK = 20<<16 | 11
	basicAck      = 60<<16 | 80
	basicNack     = 60<<16 | 120
)

// refuse returns an error for a frame that the client library would process at unbounded cost: the
// library counts up to the message number in a confirmation, and buffers a body of any size.
func (c *plainConn) refuse(payload []byte) error {
	order, channel := binary.BigEndian, binary.BigEndian.Uint16(c.frame[1:])
	switch {
	case c.frame[0] == contentType && len(payload) >= propertiesHead:
		if size := order.Uint64(payload[4:]); size > maxBody {
			return fmt.Errorf("the broker sent a message of %d bytes; at most %d are accepted", size, maxBody)
		}
	case c.frame[0] == methodType && len(payload) >= 4 && order.Uint32(payload) == channelOpenOK:
		delete(c.confirms, channel)
	case c.frame[0] == methodType && len(payload) >= 12 && (order.Uint32(payload) == basicAck || order.Uint32(payload) == basicNack):
		last, tag := c.confirms[channel], order.Uint64(payload[4:])
		if tag > last+maxSkipped {
			return fmt.Errorf("the broker confirmed message %d on channel %d after message %d, want at most message %d", tag, channel, last, last+maxSkipped)
		}
		c.confirms[channel] = max(last, tag)
	}
	return nil
}

// plainFrame returns a copy of frame, which contains the properties of a message, with text headers
// only. It returns frame itself if nothing has to be changed.
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

// Constants of a payload with properties. It consists of a class, a weight, the size of the body, a
// flag bit for each property from the highest bit down, and the properties whose flags are set
// (AMQP 0.9.1, sections 4.2.6.1 and 1.8.1).
const (
	propertiesHead = 14 // bytes before the properties
	headersFlag    = 13 // flag bit of the headers
	lastFlag       = 3  // flag bit of app-id, the last property; the lower bits are not used
)

// widths holds the lengths of the properties in bytes, by their flag bit; 0 means a short string,
// except for the headers.
var widths = [16]int{12: 1, 11: 1, 6: 8}

// plainProperties returns payload with text headers only, or without any property if its properties
// are malformed. same reports whether plain is payload itself.
func plainProperties(payload []byte) (plain []byte, same bool) {
	if len(payload) < propertiesHead {
		return payload, true // the library returns an error for it
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
	if flags&1 != 0 { // a second word of flags, which is unused
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

// none returns a copy of the head of payload with all flag bits cleared, so that it has no
// properties.
func none(payload []byte) []byte {
	out := slices.Clone(payload[:propertiesHead])
	out[propertiesHead-2], out[propertiesHead-1] = 0, 0
	return out
}

// entry is an entry of a table in its encoded form: a name, a type and a value.
type entry []byte

// textEntries returns the entries of table that are text, and the numbers and booleans converted to
// text. It stops after maxHeaders+1 entries, which is one more than a request may have, and at an
// entry of unknown length. It skips all other entries, such as nested tables. all reports whether
// all entries of table are text and are returned.
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
		if len(entries) > maxHeaders {
			return entries, false
		}
		if kind := table[name]; kind == 'S' {
			entries = append(entries, whole)
		} else {
			all = false
			if text, ok := scalarText(kind, whole[name+1:]); ok {
				entries = append(entries, textEntry(whole[:name], text))
			}
		}
		table = table[len(whole):]
	}
	return entries, all
}

// scalarText returns value, an integer, a floating-point number or a boolean of the type kind, as
// text. ok is false for other types.
func scalarText(kind byte, value []byte) (text string, ok bool) {
	order := binary.BigEndian
	switch kind {
	case 't':
		return strconv.FormatBool(value[0] != 0), true
	case 'b':
		return strconv.Itoa(int(int8(value[0]))), true
	case 'B':
		return strconv.Itoa(int(value[0])), true
	case 's':
		return strconv.Itoa(int(int16(order.Uint16(value)))), true
	case 'u':
		return strconv.Itoa(int(order.Uint16(value))), true
	case 'I':
		return strconv.Itoa(int(int32(order.Uint32(value)))), true
	case 'i':
		return strconv.FormatUint(uint64(order.Uint32(value)), 10), true
	case 'l', 'L':
		return strconv.FormatInt(int64(order.Uint64(value)), 10), true
	case 'f':
		return strconv.FormatFloat(float64(math.Float32frombits(order.Uint32(value))), 'g', -1, 32), true
	case 'd':
		return strconv.FormatFloat(math.Float64frombits(order.Uint64(value)), 'g', -1, 64), true
	default:
		return "", false
	}
}

// textEntry returns an entry with the value text. name begins with the length byte that precedes a
// name in a table.
func textEntry(name []byte, text string) entry {
	e := make(entry, 0, len(name)+5+len(text))
	e = append(append(e, name...), 'S')
	e = binary.BigEndian.AppendUint32(e, uint32(len(text)))
	return append(e, text...)
}

// valueSize returns the length in bytes of the value of the type kind with which value begins. It
// returns -1 if the type is unknown or the length is truncated (RabbitMQ's errata to AMQP 0.9.1,
// section 3).
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
