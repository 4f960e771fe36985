package connectapi_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/connecttest"
	"github.com/chassi-go/chassi/internal/typetest"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// shapes has the kinds of fields that Protocol Buffers have.
type shapes struct {
	Base     typetest.Base             `json:"base"`
	Inner    *typetest.Inner           `json:"inner"`
	Page     typetest.Page[string]     `json:"page"`
	Numbers  typetest.Page[int64]      `json:"numbers"`
	Large    typetest.Page[uint64]     `json:"large"`
	Floats   typetest.Page[float64]    `json:"floats"`
	Small    typetest.Page[float32]    `json:"small"`
	Colors   []typetest.Color          `json:"colors"`
	Size     typetest.Size             `json:"size"`
	Sizes    map[string]typetest.Size  `json:"sizes"`
	Counts   map[uint64]int64          `json:"counts"`
	Levels   map[typetest.Level]string `json:"levels"`
	Words    map[typetest.Word]string  `json:"words"`
	Inners   map[int8]*typetest.Inner  `json:"inners"`
	Blob     []byte                    `json:"blob"`
	Blobs    [][]byte                  `json:"blobs"`
	Time     time.Time                 `json:"time"`
	Times    []time.Time               `json:"times"`
	Duration *time.Duration            `json:"duration"`
	Maybe    *int64                    `json:"maybe"`
	Text     *string                   `json:"text"`
	Name     typetest.Name             `json:"name"`
	Wide     typetest.Größe            `json:"wide"`
	Bools    []bool                    `json:"bools"`
	Max      uint64                    `json:"max_value"`
	Min      int64                     `json:"minValue"`
}

// number selects an error.
type number struct {
	Number int `json:"number"`
}

var failures = []error{
	chassi.NewError(chassi.NotFound, "no_such_thing", "There is no such thing"),
	chassi.NewError(chassi.NotFound, "not_found", "Not found"),
	&chassi.Error{Code: chassi.Aborted},
	chassi.NewError(chassi.InvalidArgument, "é", "Grüße, \"quoted\" \u2028 \x01").WithViolations(chassi.Violation{Field: "a[2].b", Message: "ü"}, chassi.Violation{}),
	chassi.NewError(chassi.ResourceExhausted, "quota", "Later").WithRetryAfter(1500 * time.Millisecond),
	chassi.NewError(chassi.Aborted, "details", "Details").WithDetails(left{Left: -1 << 63, Color: 1}, &left{}, &chassi.EncodedDetail{Name: "a.B", Protobuf: []byte{1, 255}}),
	chassi.NewError(chassi.Internal, "invalid", "not UTF-8: \xff").WithDetails(&chassi.EncodedDetail{Name: "not a name"}),
	errors.New("secret"),
	context.DeadlineExceeded,
	errNone,
}

func TestSameAsGRPC(t *testing.T) {
	t.Parallel()
	echo := func(_ context.Context, r *shapes) (*shapes, error) { return r, nil }
	fail := func(_ context.Context, r *number) (*struct{}, error) { return nil, failures[r.Number] }
	service := func() *chassi.Service {
		return chassi.NewService("shapes.v1.Shapes", chassi.NewEndpoint("Echo", echo, chassi.Public), chassi.NewEndpoint("Fail", fail, chassi.Public))
	}
	g := grpcapi.New(grpcapi.Config{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err := errors.Join(g.Mount(service()), g.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	conn, err := grpcapi.Dial(grpcapi.ClientConfig{Target: g.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(conn.Close(), g.Stop(context.Background())); err != nil {
			t.Error(err)
		}
	})
	url := serve(t, httpapi.Config{}, service())
	want := newClient(t, service(), conn)
	for name, caller := range map[string]client.Caller{
		"JSON":       &connecttest.Caller{URL: url, Client: httpClient(t, false), JSON: connecttest.NewJSON(service())},
		"JSON, gzip": &connecttest.Caller{URL: url, Client: httpClient(t, true), JSON: connecttest.NewJSON(service()), Gzip: true},
		"Protobuf":   &connecttest.Caller{URL: url, Client: httpClient(t, true)},
	} {
		got := newClient(t, service(), caller)
		r := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			in := new(shapes)
			typetest.Fill(r, reflect.ValueOf(in).Elem(), 5)
			a, errA := client.Invoke[shapes](t.Context(), want, "Echo", in)
			b, errB := client.Invoke[shapes](t.Context(), got, "Echo", in)
			if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
				t.Fatalf("%s: %v, %v\n%+v\n%+v\n%+v", name, errA, errB, in, a, b)
			}
		}
		for i := range failures {
			_, a := client.Invoke[struct{}](t.Context(), want, "Fail", &number{i})
			_, b := client.Invoke[struct{}](t.Context(), got, "Fail", &number{i})
			if diff := cmp.Diff(sent(a), sent(b), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: error %d (-gRPC +Connect):\n%s", name, i, diff)
			}
		}
	}
}

func newClient(t *testing.T, s *chassi.Service, caller client.Caller) *client.Client {
	t.Helper()
	c, err := client.New(s, caller)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sent returns what a client has received of an error.
func sent(err error) chassi.Error {
	e := *chassi.ErrorOf(err)
	e.Cause = nil
	for i, d := range e.Details {
		encoded := *d.(*chassi.EncodedDetail)
		encoded.Decode = nil
		e.Details[i] = &encoded
	}
	return e
}
