package natsapi_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/hostiletest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
)

const large = 32 << 20 // more than what is kept of a line

// hostileTexts are what a server may say.
var hostileTexts = map[string]string{
	"garbage":                  "\x00\xff\xfe garbage\r\n",
	"another protocol":         "SSH-2.0-OpenSSH_9.9\r\n",
	"an unknown error":         "-ERR 'What is this'\r\n",
	"a control line error":     "-ERR 'Maximum Control Line Exceeded'\r\n",
	"an error and more":        "-ERR 'Stale Connection, and more'\r\n",
	"an endless error":         "-ERR '" + strings.Repeat("e", large),
	"an endless line":          "MSG " + strings.Repeat("a", large),
	"an endless INFO":          "INFO {\"server_id\":\"" + strings.Repeat("i", large),
	"endless TLS":              "\x16" + strings.Repeat("a", large),
	"endless HTTP":             "HTTP/1.1 " + strings.Repeat("2", large),
	"a message of 2^63-1":      "MSG a 1 9223372036854775807\r\nx",
	"a message of 2^66":        "MSG a 1 73786976294838206464\r\nx",
	"a message of -1":          "MSG a 1 -1\r\nx",
	"a message without a size": "MSG a 1\r\n",
	"half a message":           "MSG a 1 100\r\nhalf",
	"headers beyond the end":   "HMSG a 1 50 20\r\nNATS/1.0\r\n\r\n01234567\r\n",
	"headers that are none":    "HMSG a 1 20 22\r\n\xff\xff\xff\xffgarbage garbage\r\n",
	"an unknown subscription":  "MSG a 999999 1\r\nx\r\n",
	"INFO that is not JSON":    "INFO {\"max_payload\":\r\n",
	"max_payload 0":            "INFO {\"max_payload\":0,\"proto\":1,\"headers\":true}\r\n",
	"max_payload -1":           "INFO {\"max_payload\":-1,\"proto\":1,\"headers\":true}\r\n",
	"max_payload 2^63":         "INFO {\"max_payload\":9223372036854775808}\r\n",
	"no headers":               "INFO {\"max_payload\":1048576,\"headers\":false}\r\n",
	"lame duck":                "INFO {\"max_payload\":1048576,\"headers\":true,\"ldm\":true}\r\n",
	"a cluster of nowhere":     "INFO {\"max_payload\":1048576,\"headers\":true,\"connect_urls\":[\"127.0.0.1:1\",\":\",\"\\u0000\",\"-1:99999\"]}\r\n",
	"pings without end":        strings.Repeat("PING\r\n", 100_000),
	"pongs without end":        strings.Repeat("PONG\r\n", 100_000),
	"nothing":                  "",
}

// Whatever a NATS server says, to a connection that is in use or as its greeting: nothing
// panics, no more than a bounded part of it is kept, calls end with their deadline, the log
// stays short, and all is well again once the server is.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	url := jetStream(t)
	for name, text := range hostileTexts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hostiletest.New(t, strings.TrimPrefix(url, "nats://"))
			log, prefix := new(journal), "test"+strconv.FormatUint(rand.Uint64(), 36)
			config := natsapi.Config{URL: "nats://" + h.Addr(), Prefix: prefix, Logger: log.logger()}
			s := natsapi.New(config)
			service := worktest.Service(worktest.Succeed)
			if err := s.Mount(service); err != nil {
				t.Fatal(err)
			}
			if err := s.Consume(transport.Queue{Name: "jobs"}, service.Endpoint("Do")); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := startSoon(ctx, s); err != nil {
				t.Fatal(err)
			}
			caller, err := natsapi.Dial(ctx, natsapi.ClientConfig{URL: config.URL, Prefix: prefix, Logger: log.logger()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(caller.Close)
			c, err := client.New(service, caller)
			if err != nil {
				t.Fatal(err)
			}
			callUntilWell(t, c)
			if taken := h.Say(text); len(text) == large && taken == len(text) {
				t.Error("all of an endless line was read")
			}
			callOnce(t, c)
			h.Greet(&text)
			<-h.Greeted
			<-h.Greeted
			callOnce(t, c)
			h.Greet(nil)
			callUntilWell(t, c)
			stop(t, s)
			checkLog(t, log.String())
		})
	}
}

// callOnce makes a call, which ends with its deadline at the latest, however it ends.
func callOnce(t *testing.T, c *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := client.Invoke[worktest.Nothing](ctx, c, "Do", &worktest.Job{})
		ended <- err
	}()
	select {
	case err := <-ended:
		if e := chassi.ErrorOf(err); err != nil && e.Code != chassi.Unavailable && e.Code != chassi.DeadlineExceeded && e.Code != chassi.ResourceExhausted {
			t.Errorf("a call ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("a call did not end with its deadline")
	}
}

func callUntilWell(t *testing.T, c *client.Client) {
	t.Helper()
	eventually(t, "calls succeed", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := client.Invoke[worktest.Nothing](ctx, c, "Do", &worktest.Job{})
		return err == nil
	})
}

func checkLog(t *testing.T, text string) {
	t.Helper()
	lines := strings.Split(text, "\n")
	if len(lines) > 100 {
		t.Errorf("%d lines in the log:\n%.4000s", len(lines), text)
	}
	for _, line := range lines {
		if len(line) > 1500 {
			t.Errorf("a line of %d bytes in the log: %.200s", len(line), line)
		}
	}
}
