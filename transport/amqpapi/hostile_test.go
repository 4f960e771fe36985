package amqpapi_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/hostiletest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// frame is one of AMQP 0.9.1.
func frame(kind byte, channel uint16, payload string) string {
	b := binary.BigEndian.AppendUint16([]byte{kind}, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return string(b) + payload + "\xce"
}

// methodFrame is a frame with a method.
func methodFrame(channel, class, number uint16, arguments string) string {
	b := binary.BigEndian.AppendUint16(nil, class)
	b = binary.BigEndian.AppendUint16(b, number)
	return frame(1, channel, string(b)+arguments)
}

func shortText(text string) string { return string(byte(len(text))) + text }

func u16(n uint16) string { return string(binary.BigEndian.AppendUint16(nil, n)) }

func u32(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

func u64(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

// hostileTexts are what a broker may say.
func hostileTexts() map[string]string {
	hello := methodFrame(0, 10, 10, "\x00\x09"+u32(0)+u32(5)+"PLAIN"+u32(5)+"en_US")
	tune := func(channels uint16, frameSize uint32) string {
		return hello + methodFrame(0, 10, 30, u16(channels)+u32(frameSize)+u16(0))
	}
	deliver := methodFrame(1, 60, 60, shortText("nobody")+u64(1)+"\x00"+shortText("")+shortText(""))
	properties := func(size uint64, flagsAndMore string) string {
		return frame(2, 1, u16(60)+u16(0)+u64(size)+flagsAndMore)
	}
	texts := map[string]string{
		"garbage":                       "\x00\xff\xfe garbage garbage",
		"another version":               "AMQP\x00\x01\x00\x00",
		"another protocol":              "HTTP/1.1 400 Bad Request\r\n\r\n",
		"nothing":                       "",
		"no mechanism":                  methodFrame(0, 10, 10, "\x00\x09"+u32(0)+u32(1)+"X"+u32(1)+"x"),
		"tune 0, 0":                     tune(0, 0),
		"tune 0, 1":                     tune(0, 1) + methodFrame(0, 10, 41, shortText("")),
		"tune 1, 1":                     tune(1, 1) + methodFrame(0, 10, 41, shortText("")),
		"tune 65535, 2^32-1":            tune(65535, 1<<32-1) + methodFrame(0, 10, 41, shortText("")),
		"a close in the handshake":      hello + methodFrame(0, 10, 50, u16(320)+shortText(strings.Repeat("c", 255))+u16(0)+u16(0)),
		"a close":                       methodFrame(0, 10, 50, u16(541)+shortText(strings.Repeat("c", 255))+u16(0)+u16(0)),
		"an end too early":              "\x01\x00\x00",
		"a frame of 4 GiB":              "\x01\x00\x00\xff\xff\xff\xff" + strings.Repeat("x", 8<<20),
		"a frame without an end":        "\x08\x00\x00\x00\x00\x00\x00\x00",
		"an unknown frame":              frame(77, 0, "x"),
		"an unknown method":             methodFrame(1, 99, 99, ""),
		"an empty method":               frame(1, 1, ""),
		"a heartbeat with more":         frame(8, 1, "x"),
		"properties of nothing":         properties(1, u16(0)),
		"a body of nothing":             frame(3, 1, "x"),
		"an unknown channel":            frame(3, 9999, "x"),
		"a delivery to nobody":          deliver + properties(1, u16(0)) + frame(3, 1, "x"),
		"a message of 2^63 bytes":       deliver + properties(1<<63, u16(0)) + frame(3, 1, "x"),
		"a message of 2^40 bytes":       deliver + properties(1<<40, u16(0)) + frame(3, 1, "x"),
		"headers of 4 GiB":              deliver + properties(1, u16(1<<13)+u32(1<<32-1)+"x") + frame(3, 1, "x"),
		"an end in the headers":         deliver + properties(1, u16(1<<13)+u32(6)+shortText("a")+"F"+u32(1<<31)) + frame(3, 1, "x"),
		"a confirmation of 2^63":        methodFrame(1, 60, 80, u64(1<<63)+"\x01"),
		"a refusal of 2^64-1":           methodFrame(1, 60, 120, u64(1<<64-1)+"\x01"),
		"a confirmation of nothing":     methodFrame(1, 60, 80, u64(1000)+"\x00") + methodFrame(1, 60, 80, u64(1000)+"\x00"),
		"a return of nothing":           methodFrame(1, 60, 50, u16(312)+shortText("x")+shortText("x")+shortText("x")) + properties(0, u16(0)),
		"a cancel":                      methodFrame(1, 60, 30, shortText("nobody")+"\x00"),
		"a closed channel":              methodFrame(1, 20, 40, u16(406)+shortText("PRECONDITION_FAILED - message size 9 is larger than max size 99999999999999999999")+u16(60)+u16(40)),
		"a limit of 1 byte":             methodFrame(1, 20, 40, u16(406)+shortText("PRECONDITION_FAILED - message size 9 is larger than max size 1")+u16(60)+u16(40)),
		"a response that nobody awaits": strings.Repeat(methodFrame(1, 20, 11, u32(0)), 10),
		"blocked without end":           strings.Repeat(methodFrame(0, 10, 60, shortText(strings.Repeat("b", 255))), 1000),
		"heartbeats without end":        strings.Repeat(frame(8, 0, ""), 100_000),
	}
	return texts
}

// Whatever an AMQP broker says, to a connection that is in use or as its greeting: nothing
// panics, no more than a bounded part of it is kept, calls end with their deadline, the log
// stays short, and all is well again once the broker is.
func TestHostileBroker(t *testing.T) {
	t.Parallel()
	good, err := url.Parse(rabbitURL(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range hostileTexts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, log, peer := hostiletest.New(t, good.Host), new(lockedText), *good
			peer.Host = h.Addr()
			service := worktest.Service(worktest.Succeed)
			config := amqpapi.Config{URL: peer.String(), Prefix: prefix(t, good.String(), service.Name()), Logger: slog.New(slog.NewTextHandler(log, nil))}
			s := start(t, config, nil, service)
			c, err := client.New(service, dial(t, amqpapi.ClientConfig{URL: config.URL, Prefix: config.Prefix, Logger: config.Logger}))
			if err != nil {
				t.Fatal(err)
			}
			callUntilWell(t, c)
			h.Say(text)
			callOnce(t, c)
			h.Greet(&text)
			<-h.Greeted
			<-h.Greeted
			callOnce(t, c)
			h.Greet(nil)
			callUntilWell(t, c)
			stop(t, s)
			lines := strings.Split(log.String(), "\n")
			if len(lines) > 100 {
				t.Errorf("%d lines in the log:\n%.4000s", len(lines), log)
			}
			for _, line := range lines {
				if len(line) > 1500 {
					t.Errorf("a line of %d bytes in the log: %.200s", len(line), line)
				}
			}
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
		if e := chassi.ErrorOf(err); err != nil && e.Code != chassi.Unavailable && e.Code != chassi.DeadlineExceeded && e.Code != chassi.ResourceExhausted && e.Code != chassi.Aborted {
			t.Errorf("a call ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("a call did not end with its deadline")
	}
}

func callUntilWell(t *testing.T, c *client.Client) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := client.Invoke[worktest.Nothing](ctx, c, "Do", &worktest.Job{})
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("calls do not succeed again: %v", err)
		}
	}
}
