package grpcapi

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec reads and writes the messages of exchanges, of calls of our client, and
// those of the health and reflection services, which are generated.
type codec struct{}

// Name is that of gRPC's own codec: the bytes are the same.
func (codec) Name() string { return "proto" }

// Marshal returns what was written already.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *exchange:
		m.buffers[0] = mem.SliceBuffer(m.body)
		return m.buffers[:], nil
	case *outgoing:
		return mem.BufferSlice{mem.SliceBuffer(m.body)}, nil
	case proto.Message:
		b, err := proto.Marshal(m)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	default:
		return nil, fmt.Errorf("grpcapi: cannot write a %T", v)
	}
}

// Unmarshal reads the bytes where they lie.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	switch m := v.(type) {
	case *exchange:
		if !m.received { // a second one is refused unread
			m.received, m.failed = true, m.method.request.Decode(buffer.ReadOnlyData(), m.message)
		}
		return nil // grpc-go would answer an error by itself, with a status of its own
	case *outgoing:
		if m.received++; m.received > 1 {
			return errCardinality
		}
		return m.plans.response.Decode(buffer.ReadOnlyData(), m.response)
	case proto.Message:
		return proto.Unmarshal(buffer.ReadOnlyData(), m)
	default:
		return fmt.Errorf("grpcapi: cannot read a %T", v)
	}
}
