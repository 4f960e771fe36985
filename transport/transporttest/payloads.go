package transporttest

import (
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// testMalformed verifies that the server responds to each malformed payload with an InvalidArgument
// error that has a violation, and that the server continues.
func testMalformed(t *testing.T, f *fixture) {
	f.start(t)
	payloads := map[string][]string{
		"json": {
			"{", "[]", "null", `{"text":1}`, `{"text":"a","text":"b"}`, `{"Text":"a"}`, "{\"text\":\"\xff\"}", `{"text":"a"} {}`, `{"number":1.5}`,
			`{"number":1e400}`, `{"inner":` + strings.Repeat(`{"inner":`, 1500), `{"text":"\ud800"}`, `{"more":[{"name":0}]}`, `{"at":"yesterday"}`, "\x00",
		},
		"protobuf": {
			"\x12\x05ab", "\x12\x01\xff", "\x00\x01", "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
			"\x3a\x01\x08", deepProtobuf(), "\x14", "\x4a\x02\x0a\x05",
		},
	}
	for format, send := range f.Send {
		for _, payload := range payloads[format] {
			err := send(bounded(t), f.endpoint("Echo"), []byte(payload))
			if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.InvalidArgument || len(e.Violations) == 0 {
				t.Errorf("%s payload %.40q: got %v with the violations %q, want invalid_argument with a violation", format, payload, err, violationsOf(err))
			}
		}
	}
	if _, err := client.Invoke[Echo](bounded(t), f.client, "Echo", full()); err != nil {
		t.Errorf("call after the invalid payloads: got the error %v, want none", err)
	}
}

// deepProtobuf returns an encoded Message in which Inner is nested 200 levels deep.
func deepProtobuf() string {
	deep := ""
	for range 200 {
		deep = "\x12" + varint(len(deep)) + deep
	}
	return "\x4a" + varint(len(deep)) + deep // Inner is field 9 of Message
}

func varint(n int) string {
	if n < 128 {
		return string([]byte{byte(n)})
	}
	return string([]byte{byte(n) | 128, byte(n >> 7)})
}

func testUnknownFields(t *testing.T, f *fixture) {
	f.start(t)
	for format, send := range f.Send {
		payload := `{"text":"a","unknown":1}`
		if format == "protobuf" {
			payload = "\x12\x01a\xf8\x07\x01"
		}
		err := send(bounded(t), f.endpoint("Echo"), []byte(payload))
		if refused := err != nil; refused != (format == f.transport.Strict) {
			t.Errorf("%s payload with an unknown field: got the error %v, want an error: %v", format, err, format == f.transport.Strict)
		}
	}
}

func testTooLarge(t *testing.T, f *fixture) {
	if f.start(t); f.Send == nil {
		return // there is no size in process
	}
	for _, size := range []int{9000, 17 << 10, 1 << 20} {
		_, err := client.Invoke[Echo](bounded(t), f.client, "Echo", &Message{Word: "w", Raw: make([]byte, size)})
		switch e := chassi.ErrorOf(err); {
		case size < 10<<10 && err != nil:
			t.Errorf("request of %d bytes: got the error %v, want none", size, err)
		case size > 16<<10 && (e == nil || e.Code != chassi.ResourceExhausted):
			t.Errorf("request of %d bytes: got %v, want resource_exhausted", size, err)
		}
	}
	if n := f.service.echoed.Load(); n != 1 {
		t.Errorf("the method ran %d times, want once", n)
	}
}
