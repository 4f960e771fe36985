package strictjson

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// options holds the JSON library's options, and encoders with these options, for messages with or
// without durations. By default, the library refuses duplicate names, invalid UTF-8 and trailing
// data. For it, a name in the wrong case is an unknown member, which only strict refuses.
type options struct {
	strict  json.Options // for requests
	lenient json.Options // for responses, which may have members that the client does not know yet

	encoders sync.Pool // of *encoder
}

func newOptions(more ...json.Options) *options {
	with := func(o json.Options) json.Options { return json.JoinOptions(append([]json.Options{o}, more...)...) }
	encoding := with(json.Deterministic(true))
	return &options{
		strict:  with(json.RejectUnknownMembers(true)),
		lenient: with(json.RejectUnknownMembers(false)),
		encoders: sync.Pool{New: func() any {
			e := new(encoder)
			e.values = jsontext.NewEncoder(&e.out, encoding)
			return e
		}},
	}
}

var (
	plainOptions    = newOptions()
	durationOptions = newOptions(
		json.WithMarshalers(json.MarshalToFunc(writeDuration)),
		json.WithUnmarshalers(json.UnmarshalFromFunc(readDuration)),
	)
	optionsOf sync.Map // reflect.Type to *options
)

// optionsFor returns the options for the type of message. The JSON library has no default form for
// durations. Only types that contain a duration get the functions that encode and decode durations,
// because such functions also slow down messages without durations.
func optionsFor(message any) *options {
	t := reflect.TypeOf(message)
	if o, ok := optionsOf.Load(t); ok {
		return o.(*options) //nolint:forcetypeassert // nothing else is put in
	}
	o := plainOptions
	if hasDuration(t, make(map[reflect.Type]bool)) {
		o = durationOptions
	}
	optionsOf.Store(t, o)
	return o
}

func hasDuration(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == nil || seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Map:
		return hasDuration(t.Key(), seen) || hasDuration(t.Elem(), seen)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return hasDuration(t.Elem(), seen)
	case reflect.Struct:
		for f := range t.Fields() {
			if hasDuration(f.Type, seen) {
				return true
			}
		}
	}
	return t == reflect.TypeFor[time.Duration]()
}

// writeDuration encodes d as a string of seconds in the form of ProtoJSON, such as "1.5s".
func writeDuration(e *jsontext.Encoder, d time.Duration) error {
	text := strconv.FormatInt(int64(d/time.Second), 10)
	if fraction := d % time.Second; fraction != 0 {
		if d < 0 {
			text, fraction = strings.TrimPrefix(text, "-"), -fraction
			text = "-" + text
		}
		text += strings.TrimRight(fmt.Sprintf(".%09d", int64(fraction)), "0")
	}
	return e.WriteToken(jsontext.String(text + "s"))
}

// readDuration decodes a string in the syntax of [time.ParseDuration], such as "1.5s" or "1m30s".
// It returns errDuration for any other value.
func readDuration(d *jsontext.Decoder, into *time.Duration) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != '"' {
		return errDuration
	}
	if *into, err = time.ParseDuration(token.String()); err != nil {
		return errDuration // the parser's error quotes
	}
	return nil
}

var errDuration = errors.New("must be a duration such as 1.5s, within 292 years")
