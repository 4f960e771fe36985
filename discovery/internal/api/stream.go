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

// ErrEnd means that the server has ended a stream without an error.
var ErrEnd = errors.New("the stream has ended")

// Stream is a response of many JSON messages, one per line. It is not safe for concurrent use.
type Stream struct {
	name   string
	body   io.ReadCloser
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

// Stream opens a stream. The header must arrive within the client's timeout and before ctx ends.
// The open stream lasts at most r.Within, which is required; the end of ctx does not end it.
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

// Next waits for a message and decodes it into out. It returns [ErrEnd] when the server has ended
// the stream. After any error, including the end of ctx, the stream must not be used again.
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

// Close ends the stream. It does nothing if the stream is nil.
func (s *Stream) Close() {
	if s != nil {
		s.cancel()
		_ = s.body.Close()
	}
}
