package amqpapi_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/transport/amqpapi"
)

// properties writes properties as they stand in a frame.
func properties(flags uint16, values ...string) []byte {
	head := append([]byte{0, 60, 0, 0}, make([]byte, 8)...)
	return append(binary.BigEndian.AppendUint16(head, flags), strings.Join(values, "")...)
}

func short(s string) string { return string(rune(len(s))) + s }

func long(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }

func text(name, value string) string { return short(name) + "S" + long(value) }

// nested is a table so many levels deep.
func nested(levels int) string {
	value := ""
	for range levels {
		value = short("a") + "F" + long(value)
	}
	return value
}

// Headers that are text, and all other properties, pass, numbers as text; what the client library would
// give its connection up at does not (fault R74's kind).
func TestPlainProperties(t *testing.T) {
	t.Parallel()
	const headers, contentType, userID, replyTo, appID, reserved = 1 << 13, 1 << 15, 1 << 4, 1 << 9, 1 << 3, 1 << 2
	id, to := short("ann"), short("reply.ann")
	for name, c := range map[string]struct{ given, want []byte }{
		"none":          {properties(0), properties(0)},
		"all text":      {properties(contentType|headers|userID, short("x/y"), long(text("A", "b")), id), properties(contentType|headers|userID, short("x/y"), long(text("A", "b")), id)},
		"without table": {properties(replyTo|userID, to, id), properties(replyTo|userID, to, id)},
		"other types":   {properties(headers|userID, long(short("v")+"V"+text("A", "b")+short("t")+"T12345678"+short("x")+"x"+long("y")+short("D")+"D12345"), id), properties(headers|userID, long(text("A", "b")), id)},
		"numbers": {
			properties(headers|userID, long(
				short("b")+"b\xff"+short("B")+"B\xff"+short("s")+"s\xff\xfe"+short("u")+"u\xff\xfe"+short("I")+"I\xff\xff\xff\xfd"+short("i")+"i\xff\xff\xff\xfd"+
					short("l")+"l\xff\xff\xff\xff\xff\xff\xff\xfc"+short("L")+"L\x00\x00\x00\x00\x00\x00\x00\x07"+short("f")+"f\x3f\xc0\x00\x00"+
					short("d")+"d\x3f\xf8\x00\x00\x00\x00\x00\x00"+short("t")+"t\x01"+short("F")+"t\x00"), id),
			properties(headers|userID, long(
				text("b", "-1")+text("B", "255")+text("s", "-2")+text("u", "65534")+text("I", "-3")+text("i", "4294967293")+
					text("l", "-4")+text("L", "7")+text("f", "1.5")+text("d", "1.5")+text("t", "true")+text("F", "false")), id),
		},
		"deep":           {properties(headers|userID, long(nested(40)+text("A", "b")), id), properties(headers|userID, long(text("A", "b")), id)},
		"cut number":     {properties(headers, long(text("A", "b")+short("n")+"l1234567")), properties(headers, long(text("A", "b")))},
		"unknown type":   {properties(headers|userID, long(text("A", "b")+short("n")+"?"+text("C", "d")), id), properties(headers|userID, long(text("A", "b")), id)},
		"too many":       {properties(headers, long(strings.Repeat(text("A", "b"), amqpapi.MaxHeaders+50))), properties(headers, long(strings.Repeat(text("A", "b"), amqpapi.MaxHeaders+1)))},
		"cut value":      {properties(headers|userID, long(text("A", "b")+short("n")+"S\xff\xff\xff\xff"), id), properties(headers|userID, long(text("A", "b")), id)},
		"cut table":      {properties(headers, "\xff\xff\xff\xff"), properties(0)},
		"cut string":     {properties(userID, "\xffann"), properties(0)},
		"cut":            {properties(contentType | userID), properties(0)},
		"more flags":     {properties(userID|1, id), properties(0)},
		"reserved":       {properties(appID|reserved, id, id), properties(appID, id)},
		"behind the end": {properties(headers|userID, long(text("A", "b")), id, "more"), properties(headers|userID, long(text("A", "b")), id)},
	} {
		if got, same := amqpapi.PlainProperties(c.given); !bytes.Equal(got, c.want) || same != bytes.Equal(c.given, c.want) {
			t.Errorf("%s: %q became %q, want %q", name, c.given, got, c.want)
		}
	}
}

// FuzzPlainProperties holds that whatever comes is either left alone or made into what
// is left alone.
func FuzzPlainProperties(f *testing.F) {
	f.Add(properties(1<<13|1<<4, long(nested(3)+text("A", "b")), short("ann")))
	f.Add(properties(0xfff8, short("c"), short("e"), long(text("A", "b")), "2", "3", short("i"), short("r"), short("1"), short("m"), "12345678", short("t"), short("u"), short("a")))
	f.Add(properties(0xffff, short("c"), short("e")))
	f.Fuzz(func(t *testing.T, payload []byte) {
		given := bytes.Clone(payload)
		plain, same := amqpapi.PlainProperties(payload)
		if !bytes.Equal(payload, given) {
			t.Error("the payload was changed")
		}
		if same != bytes.Equal(plain, payload) || len(plain) > len(payload)+32*(amqpapi.MaxHeaders+1) {
			t.Errorf("%x became %x, same is %v", payload, plain, same)
		}
		if again, same := amqpapi.PlainProperties(plain); !same {
			t.Errorf("%x became %x and then %x", payload, plain, again)
		}
	})
}
