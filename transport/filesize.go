package transport

import (
	"errors"
	"fmt"
	"io"
)

// Extent returns the position at which content is to be read and the number of bytes from there to
// its end. If content is an [io.Seeker], start is the current position, which Extent preserves. For
// any other content, start is 0, and length is size if size is positive, or -1 for an unknown
// length. Extent returns an error if content cannot seek to its end and back.
func Extent(content io.Reader, size int64) (start, length int64, err error) {
	seeker, ok := content.(io.Seeker)
	switch {
	case !ok && size > 0:
		return 0, size, nil
	case !ok:
		return 0, -1, nil
	}
	if start, err = seeker.Seek(0, io.SeekCurrent); err != nil {
		return 0, 0, err //nolint:wrapcheck // the caller says of what
	}
	end, err := seeker.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, err //nolint:wrapcheck // the caller says of what
	}
	_, err = seeker.Seek(start, io.SeekStart)
	return start, end - start, err //nolint:wrapcheck // the caller says of what
}

// Sized returns a reader of the first size bytes of content. Reading fails if content has fewer
// than size bytes. Unless canSeek is true, reading also fails if content has more than size bytes.
// If canSeek is true, the additional bytes are ignored, because a file may grow after its size was
// determined.
func Sized(content io.Reader, size int64, canSeek bool) io.Reader {
	return &sizedReader{content: content, size: size, left: size, mayGrow: canSeek}
}

// sizedReader reads the first size bytes of content. Unless mayGrow is true, it returns the last of
// these bytes only after content has ended, so that longer content does not look complete.
type sizedReader struct {
	content    io.Reader
	size, left int64
	mayGrow    bool
	failed     error
}

// Read implements [io.Reader].
func (s *sizedReader) Read(b []byte) (n int, err error) {
	switch {
	case s.failed != nil:
		return 0, s.failed
	case s.left == 0:
		return 0, io.EOF
	}
	defer func() {
		if err != nil && !errors.Is(err, io.EOF) {
			s.failed = err
		}
	}()
	n, err = s.content.Read(b[:min(int64(len(b)), s.left)])
	switch s.left -= int64(n); {
	case s.left > 0 && errors.Is(err, io.EOF):
		return n, fmt.Errorf("the file ended after %d of %d bytes", s.size-s.left, s.size)
	case s.left > 0 || err != nil || s.mayGrow:
		return n, err //nolint:wrapcheck // the content's own
	}
	switch _, err := io.ReadFull(s.content, make([]byte, 1)); {
	case err == nil:
		return 0, fmt.Errorf("the file has more than the %d bytes of its Size: set chassi.File.Size to its length, or to 0 if the length is not known", s.size)
	case errors.Is(err, io.EOF):
		return n, io.EOF
	default:
		return 0, err //nolint:wrapcheck // the content's own
	}
}
