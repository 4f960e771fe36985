package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/chassi-go/chassi"
)

// explain returns an error of the service in a form for operators: its message, followed by the
// invalid fields or, if there are none, by the cause. It returns any other error unchanged.
func explain(err error) error {
	var e *chassi.Error
	if !errors.As(err, &e) {
		return err
	}
	text := []string{e.Message}
	for _, v := range e.Violations {
		text = append(text, "the "+v.Field+" "+v.Message)
	}
	if e.Cause != nil && len(e.Violations) == 0 {
		return fmt.Errorf("%s: %w", e.Message, e.Cause)
	}
	return errors.New(strings.Join(text, "; "))
}
