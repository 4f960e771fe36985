package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// ErrEnd says that the other side has ended a stream in order.
var ErrEnd = errors.New("the stream has ended")

// Stream is an answer of many JSON messages, one a line. It belongs to one reader.
type Stream struct {
	name   string
	body   io.ReadCloser
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

// Stream begins one. Its first header comes within the client's timeout, and all of
// it lasts for r.Within at most, which must be given; it outlives ctx.
func (c *Client) Stream(ctx context.Context, r Request) (*Stream, error) {
	life, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Within)
	late := time.AfterFunc(c.timeout, cancel)
	stop := context.AfterFunc(ctx, cancel)
	response, err := c.send(life, r)
	stop()
	if !late.Stop() && err == nil {
		_ = response.Body.Close()
		err = http.ErrHandlerTimeout
	}
	if err != nil {
		cancel()
		return nil, err
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(make([]byte, 0, 4096), MaxBytes)
	return &Stream{name: r.name(), body: response.Body, lines: lines, cancel: cancel}, nil
}

// Next waits for a message. Its error ends the stream, as the end of ctx does.
func (s *Stream) Next(ctx context.Context, out any) error {
	defer context.AfterFunc(ctx, s.cancel)()
	for s.lines.Scan() {
		if len(s.lines.Bytes()) == 0 {
			continue
		}
		if err := json.Unmarshal(s.lines.Bytes(), out); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		return nil
	}
	if err := s.lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return ErrEnd
}

// Close ends the stream. A nil one may be closed.
func (s *Stream) Close() {
	if s != nil {
		s.cancel()
		_ = s.body.Close()
	}
}
