package httpapi

import (
	"errors"
	"io"
	"math"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// forServeContent returns r, or a copy of r whose Range header is changed or deleted so that
// [http.ServeContent] responds as RFC 9110, section 14, requires. ServeContent itself refuses
// unknown units and numbers over 63 bits, sends ranges without a byte ("bytes=-0", or a suffix of
// an empty file), and sends ranges for HEAD. forServeContent returns an error if the size of
// content cannot be determined.
func forServeContent(r *http.Request, content io.Seeker) (*http.Request, error) {
	given := r.Header.Get("Range")
	if given == "" {
		return r, nil
	}
	size, err := sizeOf(content)
	if err != nil {
		return nil, err
	}
	own := *r
	own.Header = r.Header.Clone()
	unit, ranges, _ := strings.Cut(given, "=")
	if strings.EqualFold(unit, "bytes") && size > 0 && r.Method == http.MethodGet {
		own.Header.Set("Range", "bytes="+boundRanges(ranges))
	} else {
		own.Header.Del("Range")
	}
	return &own, nil
}

// boundRanges returns ranges, a comma-separated list of byte ranges, with every number limited to
// [math.MaxInt64] and each empty suffix range (-0) replaced by a range beyond the end of any file.
func boundRanges(ranges string) string {
	all := strings.Split(ranges, ",")
	for i, one := range all {
		first, last, ok := strings.Cut(one, "-")
		if !ok {
			continue
		}
		first, last = boundNumber(first), boundNumber(last)
		if first == "" && last == "0" {
			first, last = strconv.Itoa(math.MaxInt64), ""
		}
		all[i] = first + "-" + last
	}
	return strings.Join(all, ",")
}

// boundNumber returns the number in text, reduced to at most [math.MaxInt64]. It returns "" if text
// is blank, and "x" if text is not a number.
func boundNumber(text string) string {
	text = textproto.TrimString(text)
	n, err := strconv.ParseUint(text, 10, 63)
	switch {
	case text == "":
		return ""
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return "x"
	default:
		return strconv.FormatUint(n, 10)
	}
}
