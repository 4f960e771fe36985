package middleware_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/chassitest"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/localapi"
	"github.com/google/go-cmp/cmp"
)

// shortage is a detail that the endpoint's errors name, delay one that they do not.
type shortage struct {
	Left  int           `json:"left"`
	Until time.Duration `json:"until"`
	Items []string      `json:"items"`
}

func (shortage) DetailName() string { return "shop.v1.Shortage" }

type delay struct {
	Days int `json:"days"`
}

func (*delay) DetailName() string { return "shop.v1.Delay" }

var errShortage = chassi.NewError(chassi.FailedPrecondition, "shortage", "There is not enough").WithDetails(shortage{})

// panicking has a method that fails.
type panicking struct{}

func (panicking) DetailName() string { panic("in a method of the detail") }

func lacking(context.Context, *orderRequest) (*orderResponse, error) {
	other := &chassi.EncodedDetail{Name: "shop.v1.Other", Protobuf: []byte{8, 1}}
	return nil, errShortage.WithDetails(shortage{Left: 2, Until: 90 * time.Second, Items: []string{"tea", "é"}}, &delay{Days: 3}, other, panicking{})
}

func (s *shop) lackingService() *chassi.Service {
	service := chassi.NewService("shop.v1.Shop",
		chassi.NewEndpoint("Order", lacking, chassi.Public, chassi.Errors(errShortage), chassi.Route("POST /v1/shops/{shop}/orders")),
		chassi.NewEndpoint("Ask", lacking, chassi.Public, chassi.Route("POST /v1/shops/{shop}/questions")))
	if err := middleware.Idempotency(service, s.store, s.options, "Order"); err != nil {
		panic(err)
	}
	return service
}

// A replayed error has the details of the first response, over every transport.
func TestIdempotencyReplaysDetails(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	chassitest.Everywhere(t, s.lackingService, func(t *testing.T, caller client.Caller) {
		b, key := newBuyer(t, s, caller), "details-"+strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())
		for _, replayed := range []bool{false, true} {
			err := b.refused(key, orderRequest{Shop: "corner"}, chassi.FailedPrecondition, "shortage", replayed)
			got, ok := chassi.DetailOf[shortage](err)
			if diff := cmp.Diff(shortage{Left: 2, Until: 90 * time.Second, Items: []string{"tea", "é"}}, got); !ok || diff != "" {
				t.Errorf("replayed %t: %v\n%s", replayed, ok, diff)
			}
			var other *chassi.EncodedDetail
			for _, d := range err.Details {
				if encoded, ok := d.(*chassi.EncodedDetail); ok && encoded.Name == "shop.v1.Other" {
					other = encoded
				}
			}
			if other == nil || string(other.Protobuf) != "\x08\x01" {
				t.Errorf("replayed %t: the encoded detail is %+v", replayed, other)
			}
		}
	})
}

// A detail that no error of the endpoint names keeps its JSON form.
func TestIdempotencyReplaysDetailsOfUnknownTypes(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	server := localapi.New(middleware.Recover())
	if err := server.Mount(s.lackingService()); err != nil {
		t.Fatal(err)
	}
	b := newBuyer(t, s, server)
	b.refused("unknown-types", orderRequest{Shop: "corner"}, chassi.FailedPrecondition, "shortage", false)
	err := b.refused("unknown-types", orderRequest{Shop: "corner"}, chassi.FailedPrecondition, "shortage", true)
	if len(err.Details) != 3 { // the fourth cannot be stored
		t.Fatalf("%d details", len(err.Details))
	}
	if d, ok := err.Details[1].(*chassi.EncodedDetail); !ok || string(d.JSON) != `{"days":3}` {
		t.Errorf("%+v", err.Details[1])
	}
}

// A detail whose type is a pointer is replayed as one, if an error of the endpoint names it.
func TestIdempotencyReplaysPointers(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	service := chassi.NewService("shop.v1.Shop",
		chassi.NewEndpoint("Order", lacking, chassi.Public, chassi.Errors(errShortage.WithDetails(&delay{}))),
		chassi.NewEndpoint("Ask", lacking, chassi.Public))
	if err := middleware.Idempotency(service, s.store, s.options, "Order"); err != nil {
		t.Fatal(err)
	}
	server := localapi.New(middleware.Recover())
	if err := server.Mount(service); err != nil {
		t.Fatal(err)
	}
	b := newBuyer(t, s, server)
	for _, replayed := range []bool{false, true} {
		err := b.refused("pointers", orderRequest{Shop: "corner"}, chassi.FailedPrecondition, "shortage", replayed)
		if len(err.Details) < 2 {
			t.Fatalf("%d details", len(err.Details))
		}
		if d, ok := err.Details[1].(*delay); !ok || d.Days != 3 {
			t.Errorf("replayed %t: %T %+v, want a delay of 3 days", replayed, err.Details[1], err.Details[1])
		}
	}
}
