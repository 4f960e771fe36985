package grpcapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

type reading struct {
	Text string `json:"text"`
}

func (reading) DetailName() string { return "errors.v1.Reading" }

type failRequest struct {
	Which int32 `json:"which"`
}

type failResponse struct{}

// failing serves errs, one for each number, under errors.v1.Errors/Fail.
func failing(errs ...error) *chassi.Service {
	return chassi.NewService("errors.v1.Errors", chassi.NewEndpoint("Fail", func(_ context.Context, r *failRequest) (*failResponse, error) {
		return nil, errs[r.Which]
	}, chassi.Public))
}

// Whatever an error holds, a client that takes 8 KiB of trailers gets its code, and
// of the rest what fits, details last.
func TestErrorsFitIntoTheTrailers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100<<10)
	manyViolations := make([]chassi.Violation, 1000)
	for i := range manyViolations {
		manyViolations[i] = chassi.Violation{Field: fmt.Sprintf("items[%d].name", i), Message: "must have at most 100 characters"}
	}
	base := chassi.NewError(chassi.NotFound, "reason", "Message")
	cases := map[string]struct {
		err    *chassi.Error
		reason bool
		others int // details beside the reason, -1 for some
	}{
		"message":               {chassi.NewError(chassi.NotFound, "reason", long), true, 0},
		"message not ASCII":     {chassi.NewError(chassi.NotFound, "reason", strings.Repeat("é%", 100<<10)), true, 0},
		"message not UTF-8":     {chassi.NewError(chassi.NotFound, "reason", "\xff\xfe"), true, 0},
		"reason":                {chassi.NewError(chassi.NotFound, long, "Message"), false, 0},
		"reason not UTF-8":      {chassi.NewError(chassi.NotFound, "\xff", "Message"), false, 0},
		"violations":            {base.WithViolations(manyViolations...), true, 1},
		"one violation":         {base.WithViolations(chassi.Violation{Field: long}), true, 0},
		"detail":                {base.WithDetails(reading{long}), true, 0},
		"details":               {base.WithDetails(reading{long}, reading{"a"}, &reading{"b"}), true, 2},
		"many details":          {base.WithDetails(slicesOf(1000)...), true, 16},
		"details not UTF-8":     {base.WithDetails(reading{"\xff"}, reading{"a"}), true, 1},
		"details, long message": {chassi.NewError(chassi.NotFound, "reason", long).WithDetails(reading{strings.Repeat("x", 4000)}, reading{"a"}), true, 1},
		"all":                   {chassi.NewError(chassi.NotFound, "reason", long).WithViolations(manyViolations...).WithRetryAfter(time.Second).WithDetails(slicesOf(1000)...), true, -1},
		"no reason":             {&chassi.Error{Code: chassi.NotFound, Message: "m"}, false, 0},
		"the code's own reason": {chassi.NewError(chassi.NotFound, "not_found", "m"), false, 0},
		"encoded, large":        {base.WithDetails(&chassi.EncodedDetail{Name: "a.B", Protobuf: bytes.Repeat([]byte{1}, 6<<10)}), true, 0},
		"encoded, that fits":    {base.WithDetails(&chassi.EncodedDetail{Name: "a.B", Protobuf: bytes.Repeat([]byte{1}, 4<<10)}), true, 1},
	}
	names, errs := make([]string, 0, len(cases)), make([]error, 0, len(cases))
	for name, c := range cases {
		names, errs = append(names, name), append(errs, c.err)
	}
	s := start(t, grpcapi.Config{}, nil, failing(errs...))
	defer stop(t, s)
	conn := dial(t, s, grpc.WithMaxHeaderListSize(8<<10))
	for i, name := range names {
		request, response := bytesMessage{8, byte(i)}, new(bytesMessage)
		st, _ := status.FromError(conn.Invoke(t.Context(), "/errors.v1.Errors/Fail", &request, response, grpc.ForceCodec(rawCodec{})))
		if st.Code() != codes.NotFound || !utf8.ValidString(st.Message()) || st.Message() == "" {
			t.Errorf("%s: %v, %d bytes of message", name, st.Code(), len(st.Message()))
		}
		reason, others := false, 0
		for _, d := range st.Details() {
			if _, ok := d.(*errdetails.ErrorInfo); ok {
				reason = true
			} else {
				others++
			}
		}
		if want := cases[name]; reason != want.reason || others != want.others && (want.others >= 0 || others == 0) {
			t.Errorf("%s: reason %v and %d others, want %v and %d", name, reason, others, want.reason, want.others)
		}
	}
}

func slicesOf(n int) []chassi.Detail {
	details := make([]chassi.Detail, n)
	for i := range details {
		details[i] = reading{strconv.Itoa(i)}
	}
	return details
}

// What a server sends beside the code is not trusted: malformed details are left out,
// and there is a bound to the others.
func TestClientLeavesOutMalformedDetails(t *testing.T) {
	t.Parallel()
	anyOf := func(name string, value []byte) *anypb.Any {
		return &anypb.Any{TypeUrl: "type.googleapis.com/" + name, Value: value}
	}
	encoded := func(m proto.Message) *anypb.Any {
		a, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	details := []*anypb.Any{
		anyOf("google.rpc.ErrorInfo", []byte{0xff}), anyOf("google.rpc.BadRequest", []byte{10, 100}), anyOf("google.rpc.RetryInfo", []byte{10}),
		encoded(&errdetails.ErrorInfo{Reason: "first"}), encoded(&errdetails.ErrorInfo{Reason: "second"}), {TypeUrl: "no name", Value: []byte{1}}, {}, nil,
		anyOf("errors.v1.Reading", []byte{10, 5}), anyOf("errors.v1.Reading", []byte{10, 1, 'a'}),
		anyOf("a..B", nil), anyOf(strings.Repeat("a", 300), nil),
	}
	err := grpcapi.ErrorOf(t.Context(), status.FromProto(&spb.Status{Code: 5, Message: "m", Details: details}).Err())
	e := chassi.ErrorOf(err)
	if e.Code != chassi.NotFound || e.Reason != "first" || len(e.Violations) > 0 || e.RetryAfter != 0 || len(e.Details) != 3 {
		t.Errorf("%+v", e)
	}
	if got, ok := chassi.DetailOf[reading](err); !ok || got.Text != "a" {
		t.Errorf("behind a malformed one: %+v, %v", got, ok)
	}
	details = nil
	for range 1000 {
		details = append(details, anyOf("errors.v1.Reading", []byte{10, 1, 'a'}))
	}
	if n := len(chassi.ErrorOf(grpcapi.ErrorOf(t.Context(), status.FromProto(&spb.Status{Code: 5, Details: details}).Err())).Details); n != 16 {
		t.Errorf("%d details", n)
	}
}

// Whatever a server sends, the client has an error with its code, and nothing panics.
func FuzzErrorOf(f *testing.F) {
	for _, details := range [][]*anypb.Any{nil, {{TypeUrl: "a/errors.v1.Reading", Value: []byte{10, 1, 'a'}}}, {{TypeUrl: "a/google.rpc.BadRequest", Value: []byte{10, 2, 10, 0}}}} {
		b, err := proto.Marshal(&spb.Status{Code: 5, Message: "m", Details: details})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s spb.Status
		if proto.Unmarshal(data, &s) != nil || s.GetCode() < 1 || s.GetCode() > 16 {
			return
		}
		err := grpcapi.ErrorOf(context.Background(), status.FromProto(&s).Err())
		if e := chassi.ErrorOf(err); e == nil || int32(e.Code) != s.GetCode() || len(e.Details) > 16 || e.RetryAfter < 0 {
			t.Fatalf("%v became %+v", &s, err)
		}
		_, _ = chassi.DetailOf[reading](err)
	})
}

// A unary method takes one message: none, or two, is UNIMPLEMENTED, whatever the first
// one is.
func TestMethodAcceptsOneMessage(t *testing.T) {
	t.Parallel()
	ran := make(chan struct{}, 10)
	s := start(t, grpcapi.Config{}, nil, chassi.NewService("errors.v1.Errors", chassi.NewEndpoint("Fail", func(context.Context, *failRequest) (*failResponse, error) {
		ran <- struct{}{}
		return &failResponse{}, nil
	}, chassi.Public)))
	defer stop(t, s)
	conn := dial(t, s)
	for name, c := range map[string]struct {
		messages []bytesMessage
		want     codes.Code
	}{
		"none":              {nil, codes.Unimplemented},
		"one":               {[]bytesMessage{{8, 1}}, codes.OK},
		"one, empty":        {[]bytesMessage{{}}, codes.OK},
		"one, malformed":    {[]bytesMessage{{8}}, codes.InvalidArgument},
		"two":               {[]bytesMessage{{8, 1}, {8, 2}}, codes.Unimplemented},
		"two, empty":        {[]bytesMessage{{}, {}}, codes.Unimplemented},
		"two, malformed":    {[]bytesMessage{{8}, {8}}, codes.Unimplemented},
		"three":             {[]bytesMessage{{}, {}, {}}, codes.Unimplemented},
		"two, one is large": {[]bytesMessage{{}, make(bytesMessage, 2<<20)}, codes.ResourceExhausted},
	} {
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/errors.v1.Errors/Fail", grpc.ForceCodec(rawCodec{}))
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.messages {
			_ = stream.SendMsg(&c.messages[i]) // the server may have responded already
		}
		_ = stream.CloseSend()
		responses := 0
		for {
			if err = stream.RecvMsg(new(bytesMessage)); err != nil {
				break
			}
			responses++
		}
		if err.Error() == "EOF" {
			err = nil
		}
		if status.Code(err) != c.want || responses != 0 && c.want != codes.OK || responses > 1 {
			t.Errorf("%s: %v and %d responses, want %v", name, err, responses, c.want)
		}
	}
	if len(ran) != 2 {
		t.Errorf("the method ran %d times, want 2", len(ran))
	}
}

// A server that answers a unary call with no message or two is UNIMPLEMENTED for the
// caller, and one that fails is not.
func TestClientAcceptsOneMessage(t *testing.T) {
	t.Parallel()
	internal := status.Error(codes.Internal, "cardinality violation: of the server's own")
	responses := [][]bytesMessage{{{}}, {}, {{}, {}}, {{}, {}, {}}, {}, {{}}}
	ends := []error{nil, nil, nil, nil, internal, internal}
	want := []chassi.Code{0, chassi.Unimplemented, chassi.Unimplemented, chassi.Unimplemented, chassi.Internal, chassi.Internal}
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		request := new(bytesMessage)
		if err := stream.RecvMsg(request); err != nil {
			return err
		}
		which := 0
		if len(*request) == 2 {
			which = int((*request)[1])
		}
		for i := range responses[which] {
			if err := stream.SendMsg(&responses[which][i]); err != nil {
				return err
			}
		}
		return ends[which]
	}))
	defer server.Stop()
	c, err := grpcapi.Dial(grpcapi.ClientConfig{Target: listen(t, server)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	caller, err := client.New(failing(), c)
	if err != nil {
		t.Fatal(err)
	}
	for which, code := range want {
		_, err := client.Invoke[failResponse](t.Context(), caller, "Fail", &failRequest{Which: int32(which)})
		if e := chassi.ErrorOf(err); (e == nil) != (code == 0) || e != nil && e.Code != code {
			t.Errorf("%d: %v, want %v", which, err, code)
		}
		if code == chassi.Unimplemented && errors.Unwrap(err) == nil {
			t.Errorf("%d: %v has no cause", which, err)
		}
	}
}

// listen serves server, and returns its address.
func listen(t *testing.T, server *grpc.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	return l.Addr().String()
}

func stop(t *testing.T, s *grpcapi.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// A server cannot make a client read more than 64 KiB of metadata: grpc-go's own bound is
// 16 MiB.
func TestClientBoundsMetadata(t *testing.T) {
	t.Parallel()
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		stream.SetTrailer(metadata.Pairs("x-large", strings.Repeat("x", 100<<10)))
		return status.Error(codes.NotFound, "of the server")
	}))
	defer server.Stop()
	c, err := grpcapi.Dial(grpcapi.ClientConfig{Target: listen(t, server)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	caller, err := client.New(failing(), c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Invoke[failResponse](t.Context(), caller, "Fail", &failRequest{})
	if e := chassi.ErrorOf(err); e == nil || e.Code == chassi.NotFound {
		t.Errorf("100 KiB of trailers were taken: %v", err)
	}
}
