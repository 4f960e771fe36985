package schema

import (
	"reflect"

	"github.com/chassi-go/chassi/schema/gotype"
)

// Document describes one type by itself: its schema is at #/root.
func Document(t reflect.Type, isSent bool) ([]byte, error) {
	described, err := gotype.Of(t)
	if err != nil {
		return nil, err
	}
	var root object
	c, err := newComponents(nil, nil, func(c *components) { root = c.schemaOf(described, direction(isSent)) })
	if err != nil {
		return nil, err
	}
	return render(object{"root": root, "components": object{"schemas": c.schemas}})
}
