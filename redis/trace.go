package redis

import (
	"context"
	"errors"
	"strings"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/calltrace"
	"github.com/redis/rueidis"
)

// trace records that a command begins. It returns the function that records the end, or nil if the
// call to which ctx belongs is not recorded; [ended] accepts both. Keys and arguments are not
// recorded.
func (db *DB) trace(ctx context.Context, command, script string) calltrace.End {
	start := calltrace.From(ctx)
	if start == nil {
		return nil
	}
	_, end := start(ctx, calltrace.Operation{System: "redis", Namespace: db.number, Name: command, Target: script})
	return end
}

// ended records how a command ended. It does nothing if end is nil. Of the text of err, it records
// at most the code of an error reply, because the rest may contain values.
func ended(end calltrace.End, err error) {
	if end == nil {
		return
	}
	var reply *rueidis.RedisError
	var refused *breaker.OpenError
	switch {
	case err == nil:
		end("", "")
	case errors.As(err, &reply):
		end(replyCode(reply.Error()), "")
	case errors.As(err, &refused):
		end("", "breaker_open")
	case errors.Is(err, context.Canceled):
		end("", "canceled")
	case errors.Is(err, context.DeadlineExceeded):
		end("", "timeout")
	default:
		end("", "unavailable")
	}
}

// replyCode returns the first word of an error reply, such as "WRONGTYPE", or "ERR" if that word is
// not a code.
func replyCode(reply string) string {
	code, _, _ := strings.Cut(reply, " ")
	if code == "" || len(code) > 32 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return "ERR"
	}
	return code
}
