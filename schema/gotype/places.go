package gotype

import "reflect"

// Root is the type of a message of an endpoint: its request, its response or a detail.
type Root struct {
	Endpoint string // full name of the endpoint
	Type     reflect.Type
}

// placeOf returns the location of t in the first root that contains it, such as "shop.v1.Shop/Get,
// field lines[].price", or "" if no root contains t.
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

// find reports whether target is t or is in t, and returns the path from t to target, which is ""
// for t itself. It skips the types in seen, which it has visited before.
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
