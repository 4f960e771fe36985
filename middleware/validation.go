package middleware

import (
	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/validation"
)

// Validation returns middleware that validates each decoded request before the method is called. An
// invalid request fails with [chassi.InvalidArgument] and a violation for each invalid field. A
// field is invalid if it violates its validate tag, or if the method Validate() error of the
// request, or of a value in the request, reports the field. See package [validation] for tags and
// methods. Examples of tags are:
//
//	Name string   `json:"name" validate:"required,min=2,max=64"`
//	Kind string   `json:"kind" validate:"oneof=new used"`
//	Tags []string `json:"tags" validate:"max=10,dive,max=20"`
//
// An endpoint with malformed or inapplicable tags cannot be mounted.
func Validation() chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		request := b.Endpoint.RequestType()
		if request == nil {
			return next
		}
		names := validation.Members
		if b.Transport == "http" {
			names = validation.Parameters
		}
		checker, err := validation.New(request, names)
		switch {
		case err != nil:
			b.Fail(err)
		case !checker.Idle():
			b.Check(checker.Check)
		}
		return next
	}
}
