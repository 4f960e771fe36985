package httpapi

import (
	"errors"
	"fmt"
	"io"
)

// sized returns the first size bytes of content. It is an error if content has more, unless it can
// seek: a file may grow after its size was determined.
func sized(content io.Reader, size int64, canSeek bool) io.Reader {
	if canSeek {
		return io.LimitReader(content, size)
	}
	return &sizedReader{content, size, size}
}

// sizedReader reads content that must have no more than size bytes. It returns the last of them only
// when the content has ended, so that longer content does not look complete.
type sizedReader struct {
	content    io.Reader
	size, left int64
}

// Read implements [io.Reader].
func (s *sizedReader) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.content.Read(b[:min(int64(len(b)), s.left)])
	if s.left -= int64(n); s.left > 0 || err != nil {
		return n, err //nolint:wrapcheck // the content's own
	}
	switch _, err := io.ReadFull(s.content, make([]byte, 1)); {
	case err == nil:
		return 0, fmt.Errorf("the file has more than the %d bytes of its Size: set chassi.File.Size to its length, or to 0 if that is not known", s.size)
	case errors.Is(err, io.EOF):
		return n, io.EOF
	default:
		return 0, err //nolint:wrapcheck // the content's own
	}
}
