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
	errNoFile     = errors.New("localapi: the method returned a chassi.File without a Reader")
)

// sentFile is the reader through which a method reads the file in a request. As over HTTP, Read
// fails if the file has more than limit bytes or if the client's Reader fails, and the call then
// fails even if the method succeeds.
type sentFile struct {
	reader io.Reader
	limit  int64
	left   int64
	failed error
}

// prepare replaces the file in request, if there is one, with the file of at most limit bytes that
// the method would get over HTTP. It returns an error if the size of the file cannot be determined.
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
		return errUnreadable.WithCause(fmt.Errorf("localapi: determine the size of a file: %w", err))
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

// fileCodec is the [chassi.Codec] of a call whose response has a file. The call lasts until the
// client has read or closed the file, as a call over HTTP lasts until the file has been sent.
type fileCodec struct {
	*localCodec
	ctx     context.Context //nolint:containedctx // of the call
	own     transport.Pairs // metadata of the response, before it is passed to the client
	encoded chan struct{}   // closed when the client has the response
}

// callForFile makes a call whose response has a file. It returns nil as soon as the client has the
// response, or an error if the call fails before that. The call counts as in flight until the
// client has read or closed the file, or the context of the call is done.
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

// Encode passes response to the client, and returns when the file has been read to its end or
// closed, or when the context of the call is done. It returns an error if response has no file or
// cannot be passed on, if the size of the file cannot be determined, or if the file ended with an
// error.
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
			return fmt.Errorf("localapi: determine the size of a file: %w", err)
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

// servedFile is the Reader of the file in a response. It is an [io.ReadCloser], as over HTTP. Its
// Read recovers panics of the Reader that the method returned.
type servedFile struct {
	ended chan struct{}
	once  sync.Once

	mu      sync.Mutex
	reader  io.Reader // returned by the method
	content io.Reader // reads from reader, and checks the length if it is known
	err     error     // error of further reads; nil until the file has ended
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

// Close closes the file and always returns nil. It implements [io.Closer].
func (f *servedFile) Close() error {
	f.end(nil)
	return nil
}

// end closes the file. Further reads return the [chassi.Error] for err, or [io.ErrClosedPipe] if
// err is nil, unless the file has already ended. end first closes the Reader that the method
// returned, if it is an [io.Closer], so that a blocked read ends.
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
