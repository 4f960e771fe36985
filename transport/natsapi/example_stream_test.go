package natsapi_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// readStream prints the items of a stream. It uses the client library of NATS alone.
func readStream(conn *nats.Conn, subject string, request []byte) error {
	inbox := conn.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	if err := conn.PublishRequest(subject, inbox, request); err != nil {
		return err
	}
	read, control := 0, ""
	for {
		m, err := sub.NextMsg(45 * time.Second) // three heartbeats
		if err != nil {
			return err
		}
		switch m.Header.Get("Stream-Kind") {
		case "open":
			control = subject + "." + m.Header.Get("Stream-Control")
		case "item":
			read++
			fmt.Println(string(m.Data))
		case "heartbeat", "end":
		default: // an error, instead of a stream or at its end
			return errors.New(m.Header.Get("Error-Code") + ": " + string(m.Data))
		}
		switch seq := strconv.Itoa(read); {
		case m.Header.Get("Stream-Seq") != seq:
			return errors.New("items were lost")
		case m.Header.Get("Stream-Kind") == "end":
			return nil
		default:
			_ = conn.PublishMsg(&nats.Msg{Subject: control, Header: nats.Header{"Stream-Kind": {"read"}, "Stream-Seq": {seq}}})
		}
	}
}

type countRequest struct {
	To int `json:"to"`
}

type number struct {
	N int `json:"n"`
}

// A stream, and a client without this package.
func Example_stream() {
	count := func(_ context.Context, r *countRequest) (iter.Seq2[*number, error], error) {
		return func(yield func(*number, error) bool) {
			for n := range r.To {
				if !yield(&number{n + 1}, nil) {
					return
				}
			}
		}, nil
	}
	ctx, quiet := context.Background(), slog.New(slog.DiscardHandler)
	dir, err := os.MkdirTemp("", "natsapi")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	broker := embedded.New(embedded.Config{Addr: "127.0.0.1:0", CredentialsDir: dir, Logger: quiet})
	if err := broker.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Stop(ctx)
	server := natsapi.New(natsapi.Config{Broker: broker, Logger: quiet})
	err = server.Mount(chassi.NewService("numbers.v1.Numbers", chassi.NewStream("Count", count, chassi.Public)))
	if err == nil {
		err = server.Start(ctx) // an App does this
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop(ctx)

	key, err := nats.NkeyOptionFromSeed(dir + "/default.nk")
	if err != nil {
		fmt.Println(err)
		return
	}
	conn, err := nats.Connect(broker.URL(), key)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	if err := readStream(conn, "numbers.v1.Numbers.Count", []byte(`{"to":3}`)); err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"n":1}
	// {"n":2}
	// {"n":3}
}
