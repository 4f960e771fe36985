package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrEnd is returned by [Stream.Next] if the server has ended the stream without an error.
var ErrEnd = errors.New("the stream has ended")

// Stream is a response with a sequence of JSON messages, one per line. It is not safe for
// concurrent use.
type Stream struct {
	name   string
	body   io.ReadCloser
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

// Stream sends a request and returns the response as a stream. The header of the response must
// arrive within the client's timeout and before ctx is done. Later, ctx has no effect on the stream,
// which lasts at most r.Within. r.Within is required. For a status other than 2xx the error wraps a
// [*StatusError].
func (c *Client) Stream(ctx context.Context, r Request) (*Stream, error) {
	life, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Within)
	late := time.AfterFunc(c.timeout, cancel)
	stop := context.AfterFunc(ctx, cancel)
	response, err := c.send(life, r)
	stop()
	if !late.Stop() && err == nil {
		_ = response.Body.Close()
		err = fmt.Errorf("no response header within %v: %w", c.timeout, context.DeadlineExceeded)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(make([]byte, 0, 4096), MaxBytes)
	return &Stream{name: r.name(), body: response.Body, lines: lines, cancel: cancel}, nil
}

// Next waits for a message and decodes it into out. It returns [ErrEnd] if the server has ended the
// stream. If ctx is done first, Next returns an error. After any error, the stream may only be
// closed.
func (s *Stream) Next(ctx context.Context, out any) error {
	defer context.AfterFunc(ctx, s.cancel)()
	for s.lines.Scan() {
		if len(s.lines.Bytes()) == 0 {
			continue
		}
		if err := json.Unmarshal(s.lines.Bytes(), out); err != nil {
			return fmt.Errorf("%s: decode a message: %w", s.name, err)
		}
		return nil
	}
	if err := s.lines.Err(); err != nil {
		return fmt.Errorf("%s: read a message: %w", s.name, err)
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
