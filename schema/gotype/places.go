package gotype

import "reflect"

// Root is the type of a message of an endpoint: its request, its response or a detail.
type Root struct {
	Endpoint string // its full name
	Type     reflect.Type
}

// placeOf returns the first place of the type among the roots, such as "shop.v1.Shop/Get, field
// lines[].price", or "" if no root contains the type.
func placeOf(t reflect.Type, roots []Root) string {
	for _, root := range roots {
		described, err := Of(root.Type)
		if err != nil {
			continue
		}
		switch path, found := described.find(t, make(map[*Type]bool)); {
		case found && path == "":
			return root.Endpoint
		case found:
			return root.Endpoint + ", field " + path
		}
	}
	return ""
}

// find returns the path from t to target, or "" for t itself, and reports whether t contains
// target.
func (t *Type) find(target reflect.Type, seen map[*Type]bool) (path string, found bool) {
	if t == nil || seen[t] {
		return "", false
	}
	seen[t] = true
	if t.Go == target {
		return "", true
	}
	for i := range t.Fields {
		if rest, found := t.Fields[i].Type.find(target, seen); found {
			return joinPath(t.Fields[i].CallerName(), rest), true
		}
	}
	for _, inner := range []*Type{t.Elem, t.Key, t.Rest} {
		if rest, found := inner.find(target, seen); found {
			if t.Kind == Pointer {
				return rest, true
			}
			return joinPath("[]", rest), true
		}
	}
	return "", false
}

func joinPath(first, rest string) string {
	if rest == "" || rest[0] == '[' {
		return first + rest
	}
	return first + "." + rest
}
