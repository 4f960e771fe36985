package transport

import (
	"io"
	"reflect"

	"github.com/chassi-go/chassi"
)

// FileOf returns the file of a message, which is a pointer to a struct; nil without one.
func FileOf(message any) *chassi.File {
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
	if f := FileOf(message); f != nil {
		if c, ok := f.Reader.(io.Closer); ok {
			_ = c.Close() // it was only read
		}
	}
}
