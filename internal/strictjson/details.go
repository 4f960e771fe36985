package strictjson

import (
	"errors"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxDetails is the maximum number of details that are sent or read for one error. The limit
	// is documented at [chassi.Error.WithDetails].
	maxDetails = 16
	// maxDetailsSent is the maximum total size in bytes of the details sent with one error.
	maxDetailsSent = 16 << 10
	// maxDetailsRead is the maximum total size in bytes of the details accepted with one error.
	maxDetailsRead = 64 << 10
	// typePrefix is the part of a type URL before the full name of the message.
	typePrefix = "type.googleapis.com/"
)

// Details encodes the details of an error as a JSON array of objects, in the ProtoJSON form of
// google.protobuf.Any. Each object has the type URL of its message as "@type", followed by the
// members of the message. If the message has no JSON form, the single member "@value" follows
// instead, which is the encoded message in base64. Details omits a detail that cannot be encoded, a
// detail after the first 16, and a detail with which the array would exceed 16 KiB. It returns nil
// if no detail remains.
func Details(details []chassi.Detail) jsontext.Value {
	var array jsontext.Value
	for _, d := range details[:min(len(details), maxDetails)] {
		object, err := detail(d)
		if err != nil || len(array)+len(object)+2 > maxDetailsSent {
			continue
		}
		if array == nil {
			array = append(array, '[')
		} else {
			array = append(array, ',')
		}
		array = append(array, object...)
	}
	if array == nil {
		return nil
	}
	return append(array, ']')
}

var errDetail = errors.New("strictjson: the detail has an invalid name, a member @type, or no encoding as a JSON object")

// detail returns d as a JSON object with its "@type". It returns an error if d has an invalid name
// or a member "@type", cannot be encoded as an object, or panics, for example because it is nil.
// The error to which d belongs is then sent without d.
func detail(d chassi.Detail) (object jsontext.Value, err error) {
	defer func() {
		if recover() != nil {
			object, err = nil, errDetail
		}
	}()
	name := d.DetailName()
	if !isFullName(name) {
		return nil, errDetail
	}
	members, err := detailMembers(d)
	if err != nil {
		return nil, err
	}
	object = append(object, `{"@type":"`+typePrefix+name+`"`...)
	if rest := strings.TrimSpace(string(members[1:])); rest != "}" {
		object = append(object, ',')
		object = append(object, rest...)
	} else {
		object = append(object, '}')
	}
	if !object.IsValid() { // the detail has a member named @type
		return nil, errDetail
	}
	return object, nil
}

// detailMembers returns d as a JSON object without "@type", or an error if d has no such form.
func detailMembers(d chassi.Detail) (members []byte, err error) {
	encoded, ok := d.(*chassi.EncodedDetail)
	switch {
	case !ok:
		err = Append(&members, d)
	case encoded.JSON != nil:
		members = encoded.JSON
	default:
		err = Append(&members, &detailValue{encoded.Protobuf})
	}
	if err == nil && (jsontext.Value(members).Kind() != '{' || members[0] != '{') {
		err = errDetail
	}
	return members, err
}

type detailValue struct {
	Value []byte `json:"@value"` // cannot be the name of a field
}

// ParseDetails decodes details that another process has encoded with [Details]. It omits malformed
// details and all details after the first 16. It returns nil if array is malformed or longer than
// 64 KiB.
func ParseDetails(array jsontext.Value) []chassi.Detail {
	if len(array) == 0 || len(array) > maxDetailsRead {
		return nil
	}
	var objects []jsontext.Value
	if err := json.Unmarshal(array, &objects, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil
	}
	var details []chassi.Detail
	for _, object := range objects[:min(len(objects), maxDetails)] {
		if d := parseDetail(object); d != nil {
			details = append(details, d)
		}
	}
	return details
}

func parseDetail(object jsontext.Value) chassi.Detail {
	var d struct {
		detailValue

		Type string         `json:"@type"`
		Rest jsontext.Value `json:",embed"` // the other members
	}
	if err := json.Unmarshal(object, &d); err != nil {
		return nil
	}
	name := d.Type[strings.LastIndexByte(d.Type, '/')+1:]
	if !isFullName(name) {
		return nil
	}
	if d.Value != nil {
		return &chassi.EncodedDetail{Name: name, Protobuf: d.Value}
	}
	members := []byte("{}")
	if d.Rest != nil {
		members = d.Rest
	}
	return &chassi.EncodedDetail{Name: name, JSON: members, Decode: func(into any) error { return DecodeResponse(members, into) }}
}

// isFullName reports whether name has at most maxFullName bytes and is a valid full name of a
// Protocol Buffers message.
func isFullName(name string) bool {
	if len(name) > maxFullName {
		return false
	}
	for word := range strings.SplitSeq(name, ".") {
		if word == "" || word[0] >= '0' && word[0] <= '9' {
			return false
		}
		for i := range len(word) {
			if c := word[i]; (c|' ' < 'a' || c|' ' > 'z') && (c < '0' || c > '9') && c != '_' {
				return false
			}
		}
	}
	return true
}

const maxFullName = 256
