package validation

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/safetext"
)

// validate calls the method Validate of v, if v has this method, and records the error that it
// returns.
func (w *walk) validate(v reflect.Value) {
	target, ok := reflect.TypeAssert[validator](v.Addr())
	if !ok {
		return
	}
	if err := target.Validate(); err != nil {
		w.refuse(err)
	}
}

// refuse records err, which a method Validate has returned for the current value.
func (w *walk) refuse(err error) {
	e := chassi.ErrorOf(err)
	switch _, isOurs := errors.AsType[*chassi.Error](err); {
	case e.Code == chassi.Internal && !isOurs:
		w.add(safetext.Clip(err.Error(), maxMessage))
		return
	case e.Code != chassi.InvalidArgument:
		if w.total++; w.failed == nil {
			w.failed = err
		}
		return
	case len(e.Violations) == 0:
		w.append("", e.Message)
	}
	for _, v := range e.Violations {
		w.append(v.Field, v.Message)
	}
	if w.own == nil {
		w.own = e
	}
}

// err returns the result of the validation: nil if the value is valid, the first error of a method
// Validate that is not about the request, or else the error with the violations.
func (w *walk) err() error {
	switch {
	case w.failed != nil:
		return w.failed
	case w.total == 0:
		return nil
	}
	e := errInvalid
	if w.own != nil && !w.plain {
		e = w.own
	}
	if e == w.own && w.total == 1 && len(e.Violations) == 0 && w.bad[0].Field == "" {
		return e // the method's own error, without a field
	}
	shown, size := 0, 0
	for shown < len(w.bad) && (shown == 0 || size < maxResponse) {
		size += len(w.bad[shown].Field) + len(w.bad[shown].Message)
		shown++
	}
	bad := w.bad[:shown]
	if more := w.total - shown; more > 0 {
		bad = append(bad[:shown:shown], chassi.Violation{Message: fmt.Sprintf("and %d more", more)})
	}
	return e.WithViolations(bad...)
}
