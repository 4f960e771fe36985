package transport

import (
	"fmt"
	"io"
	"reflect"

	"github.com/chassi-go/chassi"
)

// FileOf returns a pointer to the [chassi.File] field of the struct that message points to, or nil
// if message does not point to a struct with such a field. Message must be a pointer.
func FileOf(message any) *chassi.File {
	v := reflect.ValueOf(message).Elem()
	if v.Kind() != reflect.Struct {
		return nil
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Type != fileType || !f.IsExported() {
			continue
		}
		if field, err := v.FieldByIndexErr(f.Index); err == nil {
			file, _ := reflect.TypeAssert[*chassi.File](field.Addr())
			return file
		}
	}
	return nil
}

// CloseFile closes the Reader of the file in message, if message has a file and its Reader is an
// [io.Closer].
func CloseFile(message any) {
	if f := FileOf(message); f != nil {
		if c, ok := f.Reader.(io.Closer); ok {
			_ = c.Close() // it was only read
		}
	}
}

var fileType = reflect.TypeFor[chassi.File]()

// checkFile returns an error if the type message has more than one file, or has a file that is not
// a field of the message itself.
func checkFile(message reflect.Type) error {
	if message.Kind() != reflect.Struct {
		return nil
	}
	only := ""
	for _, f := range reflect.VisibleFields(message) {
		switch {
		case f.Anonymous && f.Type != fileType: // what it has is visible itself
		case f.Type == fileType && f.IsExported() && only != "":
			return fmt.Errorf("fields %s and %s of %v: a message has at most one file", only, f.Name, message)
		case f.Type == fileType && f.IsExported() && !throughPointer(message, f.Index):
			only = f.Name
		case f.IsExported() && holdsFile(f.Type, make(map[reflect.Type]bool)):
			return fmt.Errorf("field %s of %v: a file must be a field of the message itself, and not behind a pointer or in a slice or map", f.Name, message)
		}
	}
	return nil
}

// throughPointer reports whether the field of message with the given index is reached through an
// embedded pointer to a struct.
func throughPointer(message reflect.Type, index []int) bool {
	for i := range index[1:] {
		if message.FieldByIndex(index[:i+1]).Type.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}

// holdsFile reports whether a value of type t can contain a file. It skips the types in seen, which
// it has already examined, and adds t to seen.
func holdsFile(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == fileType || seen[t] {
		return t == fileType
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return holdsFile(t.Elem(), seen)
	case reflect.Map:
		return holdsFile(t.Key(), seen) || holdsFile(t.Elem(), seen)
	case reflect.Struct:
		for f := range t.Fields() {
			if (f.IsExported() || f.Anonymous) && holdsFile(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
