package natsapi_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// A server that does not respect the credit ends its stream; a client keeps no more.
func TestStreamBeyondTheCredit(t *testing.T) {
	t.Parallel()
	open := said("open", 0, "Stream-Control", "stream.a.b")
	for size, credit := range map[int]int{2: 65, 400 << 10: 3} {
		messages := []*nats.Msg{{Header: open, Data: []byte("open")}}
		for n := range 100 {
			messages = append(messages, &nats.Msg{Header: said("item", n+1), Data: []byte(strings.Repeat("x", size))})
		}
		items, _, err := natsapi.NewIncoming().Receive(messages...)
		if items != credit {
			t.Errorf("%d items of %d bytes are kept", items, size)
		}
		wantError(t, "beyond the credit", err, chassi.Internal, "malformed_response")
	}
}

// Whatever headers its messages have, a stream ends normally only if none is missing.
func FuzzStreamMessages(f *testing.F) {
	f.Add("open", "0", "stream.a.b", "1000", "item", "1", "end", "1", "")
	f.Add("open", "0", "stream.a.b", "x", "heartbeat", "0", "end", "0", "")
	f.Add("open", "0", "stream..b", "0", "item", "-1", "error", "", "not_found")
	f.Add("item", "1", "", "99999999999999999999", "open", "0", "end", "01", "")
	f.Fuzz(func(t *testing.T, kind1, seq1, control, heartbeat, kind2, seq2, kind3, seq3, code string) {
		var messages []*nats.Msg
		for i, m := range [][2]string{{kind1, seq1}, {kind2, seq2}, {kind3, seq3}} {
			h := nats.Header{"Stream-Kind": {m[0]}, "Stream-Seq": {m[1]}, "Stream-Control": {control}, "Stream-Heartbeat-Ms": {heartbeat}}
			if code != "" && i == 2 {
				h["Error-Code"] = []string{code}
			}
			messages = append(messages, &nats.Msg{Header: h})
		}
		items, last := 0, "0"
		for _, m := range messages {
			switch m.Header.Get("Stream-Kind") {
			case "item":
				items++
				last = strconv.Itoa(items)
			case "end", "error", "":
				got, finished, err := natsapi.NewIncoming().Receive(messages...)
				n, parsed := strconv.Atoi(m.Header.Get("Stream-Seq"))
				if m.Header.Get("Stream-Kind") == "end" && finished && err == nil && (got < items || parsed != nil || strconv.Itoa(n) != last) {
					t.Errorf("%d items and an end with number %q of %v: %d", items, m.Header.Get("Stream-Seq"), messages, got)
				}
				return
			}
		}
		if _, finished, _ := natsapi.NewIncoming().Receive(messages...); finished {
			t.Error("finished without an end")
		}
	})
}

// Whatever a client says, it has read at most what was sent.
func FuzzStreamControl(f *testing.F) {
	f.Add("read", "5", uint8(10), uint8(3))
	f.Add("read", "11", uint8(10), uint8(3))
	f.Add("read", "-1", uint8(10), uint8(3))
	f.Add("cancel", "", uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, kind, seq string, sent, unread uint8) {
		read := int64(sent) - int64(min(unread, sent, 64))
		now, err := natsapi.Acknowledge(int64(sent), read, nats.Header{"Stream-Kind": {kind}, "Stream-Seq": {seq}})
		if err != nil || now < read || now > int64(sent) {
			t.Errorf("%d of %d were read, and %d after %q: %v", read, sent, now, seq, err)
		}
	})
}
