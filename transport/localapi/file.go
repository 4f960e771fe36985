package localapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/safetext"
	"github.com/chassi-go/chassi/transport"
)

var (
	errUnreadable = chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request is malformed")
	errNoFile     = errors.New("localapi: the method returned a file without a Reader")
)

// sentFile reads the file of a request as the method would over HTTP: it returns at most limit
// bytes, and its errors are those with which the call is refused.
type sentFile struct {
	reader io.Reader
	limit  int64
	left   int64
	failed error
}

// prepare changes the file of a request, if it has one, to what the method would get over HTTP.
func (c *localCodec) prepare(request any, limit int64) error {
	f := transport.FileOf(request)
	if f == nil {
		return nil
	}
	if f.Reader == nil {
		f.Reader = strings.NewReader("")
	}
	_, length, err := transport.Extent(f.Reader, f.Size)
	if err != nil {
		return errUnreadable.WithCause(fmt.Errorf("localapi: the size of a file: %w", err))
	}
	c.sent = &sentFile{reader: f.Reader, limit: limit, left: limit}
	if length >= 0 {
		_, canSeek := f.Reader.(io.Seeker)
		c.sent.reader = transport.Sized(f.Reader, length, canSeek)
	}
	f.Reader, f.Name, f.Size = c.sent, safetext.FileName(f.Name), max(length, 0)
	return nil
}

// Read implements [io.Reader].
func (s *sentFile) Read(b []byte) (int, error) {
	if s.failed != nil {
		return 0, s.failed
	}
	n, err := s.reader.Read(b)
	if s.left -= int64(n); s.left < 0 {
		e := *transport.ErrBodyTooLarge
		e.Message = fmt.Sprintf("The body is larger than %d bytes", s.limit)
		s.failed = &e
		return 0, s.failed
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = errUnreadable.WithCause(err)
		return n, s.failed
	}
	return n, err //nolint:wrapcheck // io.EOF
}

// fileCodec passes on a response with a file. The call lasts until the client has read or closed
// the file, as a call over HTTP lasts until the file was sent.
type fileCodec struct {
	*localCodec
	ctx     context.Context //nolint:containedctx // of the call
	own     transport.Pairs // metadata of the response, until the client has it
	encoded chan struct{}   // closed when the client has the response
}

// callForFile makes a call whose response has a file. It returns when the client has the response,
// or with an error, and releases the call when the file has ended.
func (s served) callForFile(ctx context.Context, from *chassi.Call) error {
	cancel := func() {}
	if d := s.binding.Endpoint.Timeout(); d > 0 { // for a client that neither reads nor closes the file
		ctx, cancel = context.WithTimeout(ctx, d)
	}
	codec := &fileCodec{localCodec: &localCodec{from: from}, ctx: ctx, encoded: make(chan struct{})}
	codec.out = &codec.own
	ended := make(chan error, 1)
	go func() {
		defer s.calls.Release()
		defer cancel()
		ended <- s.serve(ctx, from, codec, codec.out)
	}()
	select {
	case <-codec.encoded:
		return nil
	case err := <-ended:
		select {
		case <-codec.encoded: // and read to its end
			return nil
		default:
			codec.passMetadata()
			return err
		}
	}
}

// passMetadata passes the metadata of the response to the client. Metadata that middleware sets
// later is lost.
func (c *fileCodec) passMetadata() {
	for _, pair := range c.own {
		c.from.Out.Set(pair.Key, pair.Value)
	}
}

// Encode passes the response to the client, and returns when the file has been read to its end or
// closed, or when the call's context has ended.
func (c *fileCodec) Encode(response any) error {
	f := transport.FileOf(response)
	if f == nil || f.Reader == nil {
		return errNoFile
	}
	file := &servedFile{reader: f.Reader, content: f.Reader, ended: make(chan struct{})}
	seeker, canSeek := f.Reader.(io.Seeker)
	if canSeek {
		size, err := seeker.Seek(0, io.SeekEnd)
		if err == nil {
			_, err = seeker.Seek(0, io.SeekStart)
		}
		if err != nil {
			return fmt.Errorf("localapi: the size of a file: %w", err)
		}
		f.Size = size
	}
	if canSeek || f.Size > 0 {
		file.content = transport.Sized(f.Reader, f.Size, canSeek)
	}
	f.Reader, f.Name = file, safetext.FileName(f.Name)
	if err := c.localCodec.Encode(response); err != nil {
		return err
	}
	c.passMetadata()
	close(c.encoded)
	select {
	case <-file.ended:
	case <-c.ctx.Done():
		file.end(context.Cause(c.ctx))
	}
	return file.failed()
}

// servedFile is the Reader of the file of a response. It is an [io.ReadCloser], as over HTTP, and
// recovers panics of the service's Reader.
type servedFile struct {
	ended chan struct{}
	once  sync.Once

	mu      sync.Mutex
	reader  io.Reader // the service's
	content io.Reader // reads reader, and checks its length if that is known
	err     error     // the result of further reads; set at the end
}

// Read implements [io.Reader].
func (f *servedFile) Read(b []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, f.err
	}
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, chassi.Recovered(v)
		}
		switch {
		case errors.Is(err, io.EOF):
			f.err = io.EOF
		case err != nil:
			f.err = chassi.ErrorOf(err)
			err = f.err
		default:
			return
		}
		f.close()
	}()
	return f.content.Read(b) //nolint:wrapcheck // see above
}

// Close implements [io.Closer].
func (f *servedFile) Close() error {
	f.end(nil)
	return nil
}

// end closes the file. Further reads return err, or [io.ErrClosedPipe] if err is nil, unless the
// file has already ended. The service's Reader is closed first, which ends a read that is blocked.
func (f *servedFile) end(err error) {
	f.close()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err != nil:
	case err != nil:
		f.err = chassi.ErrorOf(err)
	default:
		f.err = io.ErrClosedPipe
	}
}

func (f *servedFile) close() {
	f.once.Do(func() {
		if c, ok := f.reader.(io.Closer); ok {
			_ = c.Close() // it was only read
		}
		close(f.ended)
	})
}

// failed returns the error with which the file ended. It is nil if the client has read the file to
// its end or has closed it.
func (f *servedFile) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if errors.Is(f.err, io.EOF) || errors.Is(f.err, io.ErrClosedPipe) {
		return nil
	}
	return f.err
}
