package main

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/eventtest"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/middleware"
)

// mailServer accepts one mail and sends its lines.
func mailServer(t *testing.T) (addr string, mail <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	lines := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in := bufio.NewScanner(conn)
		reply := func(text string) { fmt.Fprintf(conn, "%s\r\n", text) }
		reply("220 ready")
		var text strings.Builder
		for inData := false; in.Scan(); {
			switch line := in.Text(); {
			case inData && line == ".":
				inData = false
				lines <- text.String()
				reply("250 stored")
			case inData:
				text.WriteString(line + "\n")
			case line == "QUIT":
				reply("221 bye")
			case line == "DATA":
				inData = true
				reply("354 go on")
			default:
				reply("250 ok")
			}
		}
	}()
	return l.Addr().String(), lines
}

// An order and its event are stored together, and the event mails the shop.
func TestOrderCreatedIsMailed(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		o := open(t, url, newWarehouse(t))
		events := eventtest.New(t, o.store.db)
		call := &chassi.Call{Principal: &chassi.Principal{Subject: "ada"}}
		order, err := o.CreateOrder(call.Context(t.Context()), &CreateOrderRequest{Product: "tea", Quantity: 2})
		must(t, err)
		if _, err := o.CreateOrder(call.Context(t.Context()), &CreateOrderRequest{Product: "none", Quantity: 2}); err == nil {
			t.Error("an unknown product was ordered")
		}
		published := eventtest.Published(events, OrdersCreated)
		if len(published) != 1 || published[0] != (OrderCreated{order.ID, "tea", 2, 700}) {
			t.Fatalf("published %+v", published)
		}
		addr, mail := mailServer(t)
		m := &Mailer{config: MailConfig{Server: addr, From: "a@example.com", To: "b@example.com"}, logger: slog.New(slog.DiscardHandler)}
		must(t, events.Deliver(t.Context(), []*event.Subscription{event.Subscribe(OrdersCreated, "mail", m.Created)}, middleware.Validation()))
		if text := <-mail; !strings.Contains(text, "To: b@example.com") || !strings.Contains(text, "2 tea for 700 cents") || !strings.Contains(text, "<event-1@orders>") {
			t.Errorf("mailed %q", text)
		}
	})
}
