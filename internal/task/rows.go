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

// Into returns a function for [database.Statement].Rows that sets list to the rows of the result.
// The argument fields returns the destinations into which the columns of a row are scanned.
func Into[T any](list *[]T, fields func(*T) []any) func(database.Cursor) error {
	return func(c database.Cursor) error {
		*list = (*list)[:0] // the statement may be retried
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

// Select executes a query and returns the rows of the result. The argument fields returns the
// destinations into which the columns of a row are scanned.
func Select[T any](ctx context.Context, q database.Querier, fields func(*T) []any, query string, args ...any) (list []T, err error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	err = errors.Join(Into(&list, fields)(rows), rows.Err(), rows.Close())
	return list, err
}

// Time is a [time.Time] that is stored in microseconds since the Unix epoch.
type Time time.Time

// Scan implements [sql.Scanner]. It sets t to a time in UTC.
func (t *Time) Scan(src any) error {
	micro, ok := src.(int64)
	if !ok {
		return fmt.Errorf("task: cannot scan a time from a %T: want an int64", src)
	}
	*t = Time(time.UnixMicro(micro).UTC())
	return nil
}

// Headers are [transport.Pairs] that are stored as a JSON object.
type Headers transport.Pairs

// Scan implements [sql.Scanner]. It ignores malformed JSON.
func (h *Headers) Scan(src any) error {
	text, _ := src.(string)
	*h = Headers(DecodeHeaders(text))
	return nil
}

// EncodeHeaders returns the headers in pairs as the JSON object that is stored in the database, or
// an error if a header is invalid.
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

// DecodeHeaders returns the headers in a JSON object that [EncodeHeaders] has returned. It ignores
// malformed JSON.
func DecodeHeaders(text string) (pairs transport.Pairs) {
	var m map[string]string
	_ = json.Unmarshal([]byte(text), &m) // what another version wrote must not stop the task
	for key, value := range m {
		pairs.Set(key, value)
	}
	return pairs
}

// List returns list as the value of the SQL argument that a condition returned by [In] uses.
func List[T any](d database.Dialect, list []T) any {
	if d == database.Postgres {
		return list
	}
	return JSON(list)
}

// In returns the SQL condition that an expression is an element of the list in the argument arg,
// such as "$1". [List] returns the value of the argument. On PostgreSQL, the condition contains no
// subquery, so that wrong estimates of the planner cannot lead to a nested loop join.
func In(d database.Dialect, expression, arg string) string {
	if d == database.Postgres {
		return expression + " = ANY(" + arg + ")"
	}
	return expression + " IN (SELECT value FROM json_each(" + arg + "))"
}

// JSON returns list as a JSON array, for [Each]. The elements must be strings, numbers, or slices of
// these.
func JSON[T any](list []T) string {
	text, _ := json.Marshal(list) //nolint:errchkjson // of texts and numbers
	return string(text)
}

// Each returns an SQL FROM item with the name j, which has a row for each element of the argument
// arg, such as "$1". [JSON] returns the value of the argument. The column "value" contains the
// element.
func Each(d database.Dialect, arg string) string {
	if d == database.Postgres {
		return "json_array_elements(CAST(" + arg + " AS JSON)) AS j (value)"
	}
	return "json_each(" + arg + ") AS j"
}
