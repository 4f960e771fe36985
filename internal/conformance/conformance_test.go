package conformance_test

import (
	"bytes"
	"io"
	"reflect"
	"testing"

	"github.com/chassi-go/chassi/internal/conformance"
)

func TestFramesComeBack(t *testing.T) {
	t.Parallel()
	empty, message := []byte{}, "m"
	want := []*conformance.UnaryRequest{
		{},
		{ResponseDefinition: &conformance.ResponseDefinition{ResponseData: &empty, ResponseDelayMS: 7}, RequestData: []byte{0, 255}},
		{ResponseDefinition: &conformance.ResponseDefinition{Error: &conformance.Error{Code: 5, Message: &message}}},
	}
	var wire bytes.Buffer
	for _, m := range want {
		if err := conformance.WriteFrame(&wire, m); err != nil {
			t.Fatal(err)
		}
	}
	whole := wire.Bytes()
	for _, m := range want {
		got := new(conformance.UnaryRequest)
		if err := conformance.ReadFrame(&wire, got); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v came back as %+v, %v", m, got, err)
		}
	}
	if err := conformance.ReadFrame(&wire, new(conformance.UnaryRequest)); err != io.EOF {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
	for _, broken := range [][]byte{whole[4:10], {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 1, 8}, {0, 0}} {
		if err := conformance.ReadFrame(bytes.NewReader(broken), new(conformance.UnaryRequest)); err == nil || err == io.EOF {
			t.Errorf("%x was taken: %v", broken, err)
		}
	}
}

func TestBinaryHeadersAreBase64(t *testing.T) {
	t.Parallel()
	md := conformance.MetadataOf([]conformance.Header{{Name: "X-A-Bin", Value: []string{"AP8", "AP8="}}, {Name: "x-b", Value: []string{"1", "2"}}})
	if !reflect.DeepEqual(md["x-a-bin"], []string{"\x00\xff", "\x00\xff"}) || !reflect.DeepEqual(md["x-b"], []string{"1", "2"}) {
		t.Errorf("%q", md)
	}
	for _, h := range conformance.HeadersOf(md) {
		if h.Name == "x-a-bin" && !reflect.DeepEqual(h.Value, []string{"AP8", "AP8"}) {
			t.Errorf("%q", h)
		}
	}
}
