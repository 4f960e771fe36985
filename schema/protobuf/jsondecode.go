package protobuf

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi/internal/safetext"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Decode decodes data, a JSON object, into message, a pointer to a zero struct of plan p. A member
// may have the json_name of its field or the name of the field in the .proto file. A member that is
// null has no effect. Decode returns a [chassi.InvalidArgument] error if data is nested deeper than
// maxDepth levels or is malformed, for example if a member is unknown or given twice, or if a value
// is of the wrong type or not valid UTF-8. The error names the field, if there is one, and quotes no
// values.
func (j *JSON) Decode(data []byte, p *Plan, message any, maxDepth int) error {
	r := jsonReader{Decoder: jsontext.NewDecoder(bytes.NewBuffer(data)), json: j, maxDepth: maxDepth}
	wire, err := r.message(make([]byte, 0, len(data)), p)
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return malformed(err, jsonName)
	}
	return p.decode(wire, message, jsonName)
}

// Errors for malformed JSON. Their messages are sent to clients.
var (
	errObject    = errors.New("must be a JSON object")
	errArray     = errors.New("must be a JSON array")
	errBool      = errors.New("must be a JSON boolean")
	errString    = errors.New("must be a JSON string")
	errBase64    = errors.New("must be a JSON string in base64")
	errEnum      = errors.New("must be the name of a value of the enum, or a whole number from -2147483648 to 2147483647")
	errFloat     = errors.New(`must be a JSON number in range, "NaN", "Infinity" or "-Infinity"`)
	errTimeJSON  = errors.New("must be a JSON string with a time such as 2006-01-02T15:04:05Z, in the years 1 to 9999, with at most 9 decimal places")
	errSpan      = errors.New("must be a JSON string with a duration in seconds such as 1.5s, within 292 years, with at most 9 decimal places")
	errUnknown   = errors.New("is not a known member")
	errTwice     = errors.New("is given twice")
	errTrailing  = errors.New("the JSON object must not be followed by more data")
	errNotObject = errors.New("the body must be a JSON object")
)

// jsonReader reads a message in JSON and converts it to the binary form.
type jsonReader struct {
	*jsontext.Decoder

	json     *JSON
	maxDepth int
	scratch  []byte
}

// message reads the next value, an object, and appends its members as fields of plan p to b.
func (r *jsonReader) message(b []byte, p *Plan) ([]byte, error) {
	want := errObject
	if r.StackDepth() == 0 {
		want = errNotObject
	}
	if err := r.open('{', want); err != nil {
		return b, err
	}
	var both []*field // that have two names
	for r.PeekKind() != '}' {
		name, err := r.name()
		if err != nil {
			return b, err
		}
		f := p.byName[string(name)]
		if f == nil {
			unknown := safetext.Clip(string(name), safetext.MaxName)
			return b, at(step{name: unknown, json: unknown}, errUnknown)
		}
		if f.name != f.jsonName {
			if slices.Contains(both, f) {
				return b, at(f.step(), errTwice)
			}
			both = append(both, f)
		}
		if r.PeekKind() == 'n' {
			_, err = r.ReadToken()
		} else {
			b, err = r.field(b, f)
		}
		if err != nil {
			return b, at(f.step(), r.reason(err))
		}
	}
	_, err := r.ReadToken()
	return b, r.reason(err)
}

// open reads the beginning of an object or an array, depending on kind. If the next value is of
// another kind, open returns the error passed as otherwise. It also returns an error if the value
// is malformed or nested too deeply.
func (r *jsonReader) open(kind jsontext.Kind, otherwise error) error {
	if r.PeekKind() != kind {
		return r.other(otherwise)
	}
	if _, err := r.ReadToken(); err != nil {
		return r.reason(err)
	}
	if r.StackDepth() > r.maxDepth {
		return fmt.Errorf("nests deeper than %d levels", r.maxDepth) //nolint:err113 // for the client
	}
	return nil
}

// other returns the error for the next value, which is not of the expected kind: a syntax error if
// the value is malformed, or else the error passed as kind.
func (r *jsonReader) other(kind error) error {
	if _, err := r.ReadToken(); err != nil {
		return r.reason(err)
	}
	return kind
}

// reason returns err or, in place of an error of the JSON library, whose text may quote the
// client's data, an error that quotes no data.
func (r *jsonReader) reason(err error) error {
	if err == nil {
		return nil
	}
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case ok && errors.Is(err, jsontext.ErrDuplicateName):
		return errTwice
	case ok || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		offset := r.InputOffset()
		if ok {
			offset = syntax.ByteOffset
		}
		return fmt.Errorf("is not valid JSON at byte %d", offset) //nolint:err113 // for the client
	default:
		return err
	}
}

// end returns an error if anything other than white space follows.
func (r *jsonReader) end() error {
	if _, err := r.ReadToken(); !errors.Is(err, io.EOF) {
		return errTrailing
	}
	return nil
}

// name reads and returns the name of the next member. The result is valid until r reads another
// name or string.
func (r *jsonReader) name() ([]byte, error) {
	raw, err := r.ReadValue()
	if err != nil {
		return nil, r.reason(err)
	}
	r.scratch, err = jsontext.AppendUnquote(r.scratch[:0], raw)
	return r.scratch, err
}

func (r *jsonReader) field(b []byte, f *field) ([]byte, error) {
	switch f.form {
	case repeated:
		return r.list(b, f)
	case mapped:
		return r.entries(b, f)
	default:
		return r.value(protowire.AppendVarint(b, f.tag), f.kind)
	}
}

func (r *jsonReader) list(b []byte, f *field) ([]byte, error) {
	if err := r.open('[', errArray); err != nil {
		return b, err
	}
	start := -1
	for i := 0; r.PeekKind() != ']'; i++ {
		if i == 0 || !f.packed {
			b = protowire.AppendVarint(b, f.tag)
		}
		if i == 0 && f.packed {
			start, b = len(b), append(b, 0)
		}
		var err error
		if b, err = r.value(b, f.kind); err != nil {
			return b, at(index(i), r.reason(err))
		}
	}
	if start >= 0 {
		b = setLength(b, start)
	}
	_, err := r.ReadToken()
	return b, err
}

func (r *jsonReader) entries(b []byte, f *field) ([]byte, error) {
	if err := r.open('{', errObject); err != nil {
		return b, err
	}
	for r.PeekKind() != '}' {
		name, err := r.name()
		if err != nil {
			return b, err
		}
		key := string(name)
		b = protowire.AppendVarint(b, f.tag)
		start := len(b)
		b = protowire.AppendTag(append(b, 0), 1, f.key.wire)
		if b, err = appendKey(b, f.key, key); err == nil {
			b, err = r.value(protowire.AppendTag(b, 2, f.kind.wire), f.kind)
		}
		if err != nil {
			quoted := "[" + strconv.Quote(safetext.Clip(key, safetext.MaxName)) + "]"
			return b, at(step{name: quoted, json: quoted}, r.reason(err))
		}
		b = setLength(b, start)
	}
	_, err := r.ReadToken()
	return b, err
}

func appendKey(b []byte, k *kind, key string) ([]byte, error) {
	if k.wire == protowire.BytesType {
		return protowire.AppendString(b, key), nil
	}
	return appendInteger(b, k, key)
}

// value reads the next value and appends it to b as a value of kind k, without a tag.
func (r *jsonReader) value(b []byte, k *kind) ([]byte, error) {
	if k.message != nil {
		start := len(b)
		b, err := r.message(append(b, 0), k.message)
		return setLength(b, start), err
	}
	if kind := r.PeekKind(); kind == '{' || kind == '[' { // not to be read as a whole
		return b, r.other(expected(k))
	}
	raw, err := r.ReadValue()
	if err != nil {
		return b, err
	}
	kind := raw.Kind()
	if kind == 'n' || kind == '"' && k.typ == typeBool || kind != '"' && k.wire == protowire.BytesType || (kind == 't' || kind == 'f') != (k.typ == typeBool) {
		return b, expected(k)
	}
	text := []byte(raw)
	if kind == '"' {
		if r.scratch, err = jsontext.AppendUnquote(r.scratch[:0], raw); err != nil {
			return b, err
		}
		text = r.scratch
	}
	return r.scalar(b, k, kind == '"', text)
}

// scalar appends a value of kind k. The parameter text is the value as a JSON number or boolean,
// or, if quoted is true, the content of a JSON string.
func (r *jsonReader) scalar(b []byte, k *kind, quoted bool, text []byte) ([]byte, error) {
	switch {
	case k.enum != nil && quoted:
		e := r.json.enums[k.goType]
		if e == nil {
			return b, errEnum
		}
		value, ok := e.values[string(text)]
		if !ok {
			return b, errEnum
		}
		return protowire.AppendVarint(b, uint64(int64(value))), nil
	case k.known == timestampName:
		return appendTimestamp(b, string(text))
	case k.known != "":
		return appendSpan(b, string(text))
	}
	switch k.typ {
	case typeBool:
		return protowire.AppendVarint(b, protowire.EncodeBool(text[0] == 't')), nil
	case typeString:
		return protowire.AppendBytes(b, text), nil
	case typeBytes:
		body, err := decodeBase64(string(text))
		return protowire.AppendBytes(b, body), err
	case descriptorpb.FieldDescriptorProto_TYPE_FLOAT:
		x, err := parseFloat(string(text), quoted, 32)
		return protowire.AppendFixed32(b, math.Float32bits(float32(x))), err
	case descriptorpb.FieldDescriptorProto_TYPE_DOUBLE:
		x, err := parseFloat(string(text), quoted, 64)
		return protowire.AppendFixed64(b, math.Float64bits(x)), err
	default:
		return appendInteger(b, k, string(text))
	}
}

// expected returns the error for a JSON value that cannot be converted to kind k.
func expected(k *kind) error {
	switch {
	case k.enum != nil:
		return errEnum
	case k.known == timestampName:
		return errTimeJSON
	case k.known != "":
		return errSpan
	}
	switch k.typ {
	case typeBool:
		return errBool
	case typeString:
		return errString
	case typeBytes:
		return errBase64
	case descriptorpb.FieldDescriptorProto_TYPE_FLOAT, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE:
		return errFloat
	default:
		return errInteger(k)
	}
}

// bits returns the number of bits of the Go type of k, an integer kind. The Go type may be narrower
// than the type in Protocol Buffers.
func (k *kind) bits() int { return k.goType.Bits() }

func (k *kind) unsigned() bool {
	return k.typ == descriptorpb.FieldDescriptorProto_TYPE_UINT32 || k.typ == descriptorpb.FieldDescriptorProto_TYPE_UINT64
}

// errInteger returns an error that states the range of k, an integer kind.
func errInteger(k *kind) error {
	return errWholeNumber(k.unsigned(), k.bits())
}

func errWholeNumber(unsigned bool, bits int) error {
	if unsigned {
		return fmt.Errorf("must be a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-bits)) //nolint:err113 // for the client
	}
	limit := int64(math.MaxInt64 >> (64 - bits))
	return fmt.Errorf("must be a whole number from %d to %d", -limit-1, limit) //nolint:err113 // for the client
}

// appendInteger appends the number in text as an integer of kind k. It returns an error if text is
// not a JSON number that is whole and in the range of k.
func appendInteger(b []byte, k *kind, text string) ([]byte, error) {
	digits, ok := wholeNumber(text)
	if !ok {
		return b, expected(k)
	}
	if k.enum != nil {
		x, err := strconv.ParseInt(digits, 10, 32)
		if err != nil {
			return b, errEnum
		}
		return protowire.AppendVarint(b, uint64(x)), nil
	}
	if k.unsigned() {
		x, err := strconv.ParseUint(digits, 10, k.bits())
		if err != nil {
			return b, errInteger(k)
		}
		return protowire.AppendVarint(b, x), nil
	}
	x, err := strconv.ParseInt(digits, 10, k.bits())
	if err != nil {
		return b, errInteger(k)
	}
	return protowire.AppendVarint(b, uint64(x)), nil
}

// maxDigits is the maximum number of decimal digits of a 64-bit integer.
const maxDigits = 20

// maxExponent is more than the length of any text. Numbers with a larger exponent are either 0, too
// large or not whole.
const maxExponent = 1 << 30

// wholeNumber returns the number in text without a fraction or an exponent, such as "150" for
// "1.5e2". It returns false if text is not a JSON number, or if the number is not whole or has more
// than maxDigits digits.
func wholeNumber(text string) (string, bool) {
	if !isNumber(text) {
		return "", false
	}
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		n, err := strconv.Atoi(text[i+1:])
		if err != nil {
			return "", false
		}
		mantissa, exponent = text[:i], min(max(n, -maxExponent), maxExponent)
	}
	digits, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	fraction = strings.TrimRight(fraction, "0")
	exponent -= len(fraction)
	if digits = strings.TrimLeft(whole+fraction, "0"); digits == "" {
		return "0", true
	}
	for ; exponent < 0; exponent++ {
		if !strings.HasSuffix(digits, "0") {
			return "", false
		}
		digits = digits[:len(digits)-1]
	}
	if len(digits)+exponent > maxDigits {
		return "", false
	}
	digits += strings.Repeat("0", exponent)
	if negative {
		digits = "-" + digits
	}
	return digits, true
}

// isNumber reports whether text is a JSON number and nothing else.
func isNumber(text string) bool {
	if text == "" || text[0] != '-' && !isDigit(text[0]) || !isDigit(text[len(text)-1]) {
		return false
	}
	return jsontext.Value(text).IsValid()
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func parseFloat(text string, quoted bool, bits int) (float64, error) {
	if quoted {
		switch text {
		case "NaN":
			return math.NaN(), nil
		case "Infinity":
			return math.Inf(1), nil
		case "-Infinity":
			return math.Inf(-1), nil
		}
	}
	if !isNumber(text) {
		return 0, errFloat
	}
	x, err := strconv.ParseFloat(text, bits)
	if err != nil {
		return 0, errFloat
	}
	return x, nil
}

// decodeBase64 decodes base64 in the standard or the URL alphabet, with or without padding. It
// returns errBase64 if text is malformed.
func decodeBase64(text string) ([]byte, error) {
	encoding := base64.StdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.URLEncoding
	}
	if len(text)%4 != 0 {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	body, err := encoding.DecodeString(text)
	if err != nil {
		return nil, errBase64
	}
	return body, nil
}
