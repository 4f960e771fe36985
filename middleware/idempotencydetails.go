package middleware

import (
	"encoding/json"
	"reflect"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
)

// storedDetail is a detail of a stored error: a struct as JSON, or the content of a
// [chassi.EncodedDetail].
type storedDetail struct {
	Name     string          `json:"name"`
	Struct   json.RawMessage `json:"struct,omitempty"`
	Protobuf []byte          `json:"protobuf,omitempty"`
	JSON     json.RawMessage `json:"json,omitempty"`
}

// storeDetails returns the stored form of details. It omits structs that have no JSON form, encoded
// details whose JSON is malformed, and details whose methods panic. A replayed error lacks the
// omitted details, even over gRPC, which may have sent them with the original error.
func storeDetails(details []chassi.Detail) []storedDetail {
	var stored []storedDetail
	for _, d := range details {
		if s, ok := storeDetail(d); ok {
			stored = append(stored, s)
		}
	}
	return stored
}

// storeDetail returns the stored form of a detail, or false if the detail cannot be
// stored or one of its methods panics.
func storeDetail(d chassi.Detail) (stored storedDetail, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	stored.Name = d.DetailName()
	if encoded, isEncoded := d.(*chassi.EncodedDetail); isEncoded {
		stored.Protobuf, stored.JSON = encoded.Protobuf, encoded.JSON
		return stored, len(encoded.JSON) == 0 || json.Valid(encoded.JSON)
	}
	return stored, strictjson.Append((*[]byte)(&stored.Struct), d) == nil
}

// restoreDetails returns the details that were stored. A struct is restored as the struct that the
// endpoint's errors declare under its name, or as a [chassi.EncodedDetail] if there is no such
// struct or the stored JSON does not fit it. A [chassi.EncodedDetail] is restored as such.
func restoreDetails(stored []storedDetail, e *chassi.Endpoint) []chassi.Detail {
	var details []chassi.Detail
	for _, s := range stored {
		details = append(details, s.restore(e))
	}
	return details
}

func (s storedDetail) restore(e *chassi.Endpoint) chassi.Detail {
	if s.Struct == nil {
		return &chassi.EncodedDetail{Name: s.Name, Protobuf: s.Protobuf, JSON: s.JSON}
	}
	if t := detailType(e, s.Name); t != nil {
		value := reflect.New(t)
		if strictjson.DecodeResponse(s.Struct, value.Interface()) == nil {
			if d, ok := reflect.TypeAssert[chassi.Detail](value); ok {
				return d
			}
		}
	}
	return &chassi.EncodedDetail{Name: s.Name, JSON: s.Struct, Decode: func(into any) error { return strictjson.DecodeResponse(s.Struct, into) }}
}

// detailType returns the type of the struct that the endpoint's errors declare as the
// detail with this name, or nil if there is none.
func detailType(e *chassi.Endpoint, name string) reflect.Type {
	for _, declared := range e.Errors() {
		for _, d := range declared.Details {
			if t := reflect.TypeOf(d); d.DetailName() == name && t != reflect.TypeFor[*chassi.EncodedDetail]() {
				if t.Kind() == reflect.Pointer {
					t = t.Elem()
				}
				return t
			}
		}
	}
	return nil
}
