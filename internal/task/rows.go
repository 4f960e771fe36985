package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/transport"
)

// Into returns a function for [database.Statement].Rows that sets list to the rows. Fields
// returns what the columns of a row are scanned into.
func Into[T any](list *[]T, fields func(*T) []any) func(database.Cursor) error {
	return func(c database.Cursor) error {
		*list = (*list)[:0] // the statement may be repeated
		for c.Next() {
			var row T
			if err := c.Scan(fields(&row)...); err != nil {
				return err
			}
			*list = append(*list, row)
		}
		return nil
	}
}

// Select returns the rows of a query, see [Into].
func Select[T any](ctx context.Context, q database.Querier, fields func(*T) []any, query string, args ...any) (list []T, err error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	err = errors.Join(Into(&list, fields)(rows), rows.Err(), rows.Close())
	return list, err
}

// Time is a [time.Time] that is stored in microseconds since the epoch.
type Time time.Time

// Scan implements [sql.Scanner]. The time is in UTC.
func (t *Time) Scan(src any) error {
	micro, ok := src.(int64)
	if !ok {
		return fmt.Errorf("task: a time of type %T", src)
	}
	*t = Time(time.UnixMicro(micro).UTC())
	return nil
}

// Headers are [transport.Pairs] that are stored as a JSON object.
type Headers transport.Pairs

// Scan implements [sql.Scanner]. It ignores malformed text.
func (h *Headers) Scan(src any) error {
	text, _ := src.(string)
	*h = Headers(DecodeHeaders(text))
	return nil
}

// EncodeHeaders returns the JSON object as which headers are stored, or an error if one of them is
// invalid.
func EncodeHeaders(pairs transport.Pairs) (string, error) {
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		if err := transport.CheckPair(p.Key, p.Value); err != nil {
			return "", fmt.Errorf("task: %w", err)
		}
		m[p.Key] = p.Value
	}
	text, err := json.Marshal(m)
	return string(text), err
}

// DecodeHeaders is the inverse of [EncodeHeaders]. It ignores malformed text.
func DecodeHeaders(text string) (pairs transport.Pairs) {
	var m map[string]string
	_ = json.Unmarshal([]byte(text), &m) // what another version wrote must not stop the task
	for key, value := range m {
		pairs.Set(key, value)
	}
	return pairs
}

// List returns a list as an argument of a statement, see [In].
func List[T any](d database.Dialect, list []T) any {
	if d == database.Postgres {
		return list
	}
	return JSON(list)
}

// In returns the condition that an expression is an element of the argument arg, which [List] has
// returned. On PostgreSQL, no estimate of the planner turns this condition into a comparison of all
// pairs.
func In(d database.Dialect, expression, arg string) string {
	if d == database.Postgres {
		return expression + " = ANY(" + arg + ")"
	}
	return expression + " IN (SELECT value FROM json_each(" + arg + "))"
}

// JSON returns a list of texts and numbers as an argument for [Each].
func JSON[T any](list []T) string {
	text, _ := json.Marshal(list) //nolint:errchkjson // of texts and numbers
	return string(text)
}

// Each returns a FROM item with the name j and a row for each element of an argument that [JSON]
// has returned. The column value has the element.
func Each(d database.Dialect, arg string) string {
	if d == database.Postgres {
		return "json_array_elements(CAST(" + arg + " AS JSON)) AS j (value)"
	}
	return "json_each(" + arg + ") AS j"
}
