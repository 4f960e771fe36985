package grpcapi

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

// The zero value of each field means the default in its tag.
func TestDefaultsAreThoseOfTheTags(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, c := range []any{Config{}.withDefaults(), ClientConfig{}.withDefaults()} {
		for field, value := range reflect.ValueOf(c).Fields() {
			want, ok := field.Tag.Lookup("default")
			if !ok || want == "0" {
				continue
			}
			if field.Type == reflect.TypeFor[time.Duration]() {
				d, err := time.ParseDuration(want)
				if err != nil {
					t.Fatal(err)
				}
				want = d.String()
			}
			if got := fmt.Sprint(reflect.Indirect(value).Interface()); got != want {
				t.Errorf("%T.%s is %s, the tag says %s", c, field.Name, got, want)
			}
			checked++
		}
	}
	if checked < 15 {
		t.Errorf("%d fields with defaults, want at least 15", checked)
	}
}
