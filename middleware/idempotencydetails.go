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

// storeDetails returns the stored form of details. It omits those that cannot be stored, which
// no transport could send either.
func storeDetails(details []chassi.Detail) []storedDetail {
	var stored []storedDetail
	for _, d := range details {
		if s, ok := storeDetail(d); ok {
			stored = append(stored, s)
		}
	}
	return stored
}

// storeDetail returns the stored form of a detail, or false if it cannot be stored. It recovers
// a panic of the detail's methods.
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

// restoreDetails returns the details that were stored: as the struct that the endpoint's errors
// declare, if there is one, or as a [chassi.EncodedDetail].
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

// detailType returns the struct type of a detail among the endpoint's errors, or nil.
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
