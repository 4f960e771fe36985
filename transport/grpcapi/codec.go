package grpcapi

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec encodes and decodes all messages of the servers and clients of this package: those of
// endpoints, and the generated messages of the health and reflection services.
type codec struct{}

// Name returns "proto", the name of gRPC's own codec, because the encoding is the same.
func (codec) Name() string { return "proto" }

// Marshal returns the encoding of v. It encodes generated messages; messages of endpoints have been
// encoded before. It returns an error if v is of an unknown type or cannot be encoded.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *exchange:
		m.buffers[0] = mem.SliceBuffer(m.body)
		return m.buffers[:], nil
	case *sendQueue:
		return m.next, nil
	case *outgoing:
		return mem.BufferSlice{mem.SliceBuffer(m.body)}, nil
	case proto.Message:
		b, err := proto.Marshal(m)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	default:
		return nil, fmt.Errorf("grpcapi: cannot encode a %T: want a proto.Message", v)
	}
}

// Unmarshal decodes the message in data into v. It does not copy data that is in one buffer. If v
// is an exchange, Unmarshal stores the decoding error in v and returns nil. In all other cases, it
// returns an error if data is malformed, if data is a second response to a call, or if v is of an
// unknown type.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	switch m := v.(type) {
	case *exchange:
		if !m.received { // a second message is refused without decoding
			m.received = true
			if data := buffer.ReadOnlyData(); len(data) > m.method.maxBytes {
				m.failed = errTooLarge
			} else {
				m.failed = m.method.request.Decode(data, m.message)
			}
		}
		return nil // grpc-go would respond to an error with a status of its own
	case *outgoing:
		if m.received++; m.received > 1 {
			return errResponseCardinality
		}
		return m.plans.response.Decode(buffer.ReadOnlyData(), m.response)
	case *receivedItem:
		m.size = buffer.Len()
		return m.plan.Decode(buffer.ReadOnlyData(), m.item)
	case proto.Message:
		return proto.Unmarshal(buffer.ReadOnlyData(), m)
	default:
		return fmt.Errorf("grpcapi: cannot decode into a %T: want a proto.Message", v)
	}
}
