package schema

import (
	"reflect"
	"testing"
	"time"

	"github.com/chassi-go/chassi/schema/gotype"
)

// The schemas of one type have different names, whichever of them are used.
func TestNamesOfVariants(t *testing.T) {
	t.Parallel()
	named := gotype.Named{Type: reflect.TypeFor[time.Month]()}
	all := []variant{{named, answered, false}, {named, answered, true}, {named, sent, false}, {named, sent, true}}
	for set := 1; set < 1<<len(all); set++ {
		seen, used := make(map[variant]bool), make(map[string]variant)
		for i, v := range all {
			if set&(1<<i) != 0 {
				seen[v] = true
			}
		}
		names, err := nameVariants(seen, nil, nil)
		if err != nil || len(names) != len(seen) {
			t.Fatalf("%v: %v", names, err)
		}
		for v, name := range names {
			if other, ok := used[name]; ok {
				t.Errorf("of %d schemas both %v and %v are named %q", len(seen), v, other, name)
			}
			used[name] = v
		}
	}
}
