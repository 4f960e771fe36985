package transport

import (
	"io"
	"reflect"
	"strings"

	"github.com/chassi-go/chassi"
)

// fileOf returns the file of a message, which is a pointer to a struct; nil without one.
func fileOf(message any) *chassi.File {
	v := reflect.ValueOf(message).Elem()
	if v.Kind() != reflect.Struct {
		return nil
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Type != reflect.TypeFor[chassi.File]() || !f.IsExported() {
			continue
		}
		if field, err := v.FieldByIndexErr(f.Index); err == nil {
			file, _ := reflect.TypeAssert[*chassi.File](field.Addr())
			return file
		}
	}
	return nil
}

// CloseFile closes the file of a message, if it has one that is an [io.Closer].
func CloseFile(message any) {
	if f := fileOf(message); f != nil {
		if c, ok := f.Reader.(io.Closer); ok {
			_ = c.Close() // it was only read
		}
	}
}

// PrepareFile gives the file of a request a Reader, empty if the client has given none.
func PrepareFile(request any) {
	if f := fileOf(request); f != nil && f.Reader == nil {
		f.Reader = strings.NewReader("")
	}
}
