package middleware

import (
	"encoding/json"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
)

// outcome is the stored result of a call: a response or an error.
type outcome struct {
	Response json.RawMessage `json:"response,omitempty"`
	Error    *storedError    `json:"error,omitempty"`
}

// storedError is the part of a [chassi.Error] that clients receive.
type storedError struct {
	Code       chassi.Code        `json:"code"`
	Reason     string             `json:"reason"`
	Message    string             `json:"message"`
	Violations []chassi.Violation `json:"violations,omitempty"`
	RetryAfter time.Duration      `json:"retry_after,omitempty"`
	Details    []storedDetail     `json:"details,omitempty"`
}

func (e *storedError) restore(endpoint *chassi.Endpoint) error {
	return &chassi.Error{
		Code: e.Code, Reason: e.Reason, Message: e.Message, Violations: e.Violations, RetryAfter: e.RetryAfter,
		Details: restoreDetails(e.Details, endpoint), Cause: errReplayed,
	}
}

func outcomeOf(response any, err error) []byte {
	var o outcome
	if err == nil {
		if strictjson.Append((*[]byte)(&o.Response), response) != nil {
			err = errIdempotencyNotKept
		}
	}
	if err != nil {
		e := chassi.ErrorOf(err)
		o = outcome{Error: &storedError{e.Code, e.Reason, e.Message, e.Violations, e.RetryAfter, storeDetails(e.Details)}}
	}
	stored, err := json.Marshal(o)
	if err != nil {
		return nil // cannot be: strings and numbers, and JSON
	}
	return stored
}
