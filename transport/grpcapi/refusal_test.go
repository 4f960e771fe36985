package grpcapi_test

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/h2test"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framed is a message with the flag of compression and its length before it.
func framed(flag byte, length int, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(length)), body...)
}

// What is refused before a method sees it has a status all the same, in the trailers
// that gRPC over HTTP/2 has for it ("gRPC over HTTP2", "Compression", "Status codes and
// their use in gRPC").
func TestRefusalsHaveAStatus(t *testing.T) {
	t.Parallel()
	s := start(t, grpcapi.Config{MaxMessageBytes: 1000}, nil, chassi.NewService("errors.v1.Errors",
		chassi.NewEndpoint("Fail", func(context.Context, *failRequest) (*failResponse, error) { return &failResponse{}, nil }, chassi.Public)))
	defer stop(t, s)
	const path = "/errors.v1.Errors/Fail"
	good := framed(0, 2, 8, 1)
	for name, c := range map[string]struct {
		path   string
		header [][2]string
		data   []byte
		http   string
		grpc   string
	}{
		"served":                  {path, nil, good, "200", "0"},
		"with a subtype":          {path, [][2]string{{"content-type", "application/grpc+proto"}}, good, "200", "0"},
		"unknown service":         {"/no.Service/Fail", nil, good, "200", "12"},
		"unknown method":          {"/errors.v1.Errors/None", nil, good, "200", "12"},
		"path without a method":   {"/errors.v1.Errors", nil, good, "200", "12"},
		"no message":              {path, nil, nil, "200", "12"},
		"two messages":            {path, nil, append(good, good...), "200", "12"},
		"half a message":          {path, nil, good[:6], "200", "13"},
		"message too large":       {path, nil, framed(0, 1001, make([]byte, 1001)...), "200", "8"},
		"length too large":        {path, nil, framed(0, 1<<31-1, 1, 2), "200", "8"},
		"malformed message":       {path, nil, framed(0, 1, 8), "200", "3"},
		"compressed, no encoding": {path, nil, framed(1, 2, 8, 1), "200", "13"},
		"compressed, identity":    {path, [][2]string{{"grpc-encoding", "identity"}}, framed(1, 2, 8, 1), "200", "13"},
		"compressed, malformed":   {path, [][2]string{{"grpc-encoding", "gzip"}}, framed(1, 2, 8, 1), "200", "13"},
		"unknown flag":            {path, nil, framed(7, 2, 8, 1), "200", "13"},
		"unknown encoding":        {path, [][2]string{{"grpc-encoding", "zstd"}}, framed(1, 2, 8, 1), "200", "12"},
		"malformed timeout":       {path, [][2]string{{"grpc-timeout", "soon"}}, good, "400", "13"},
		"timeout over":            {path, [][2]string{{"grpc-timeout", "1n"}}, good, "200", "4"},
		"wrong content type":      {path, [][2]string{{"content-type", "application/json"}}, good, "415", "3"},
		"GET":                     {path, [][2]string{{":method", "GET"}}, good, "405", "13"},
	} {
		client := h2test.Dial(t, s.Addr().String(), nil)
		header := [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", c.path}, {"content-type", "application/grpc"}, {"te", "trailers"}}
	fields:
		for _, f := range c.header {
			for i := range header {
				if header[i][0] == f[0] {
					header[i] = f
					continue fields
				}
			}
			header = append(header, f)
		}
		id, err := client.Begin(false, header...)
		if err == nil {
			err = client.WriteData(id, true, c.data)
		}
		if err != nil || client.Out.Flush() != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		decoder := hpack.NewDecoder(4096, func(f hpack.HeaderField) { got[f.Name] = f.Value })
		for ended := false; !ended; {
			frame, err := client.ReadFrame()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			switch frame := frame.(type) {
			case *http2.HeadersFrame:
				if _, err := decoder.Write(frame.HeaderBlockFragment()); err != nil {
					t.Fatal(err)
				}
				ended = frame.StreamEnded()
			case *http2.RSTStreamFrame:
				t.Fatalf("%s: reset with %v", name, frame.ErrCode)
			}
		}
		_ = client.Conn.Close()
		if got[":status"] != c.http || got["grpc-status"] != c.grpc {
			t.Errorf("%s: %v, want HTTP %s and gRPC %s", name, got, c.http, c.grpc)
		}
	}
}
