package configuration

import "github.com/berth-iot/berth/document"

// setAt returns an object with a value at a path. What is no object on the way becomes one.
func setAt(into document.Value, path []string, value document.Value) document.Value {
	if len(path) == 0 {
		return value
	}
	changed := into.Object().Clone()
	changed.Set(path[0], setAt(changed.Get(path[0]), path[1:], value))
	return document.ValueOf(changed)
}

// withdraw returns desired properties without the settings that still are as they were
// written, nor the objects that are empty then.
func withdraw(desired, settings document.Object) document.Object {
	left := desired.Clone()
	for name, setting := range settings.All() {
		present := left.Get(name)
		switch {
		case setting.Kind() == document.KindObject && present.Kind() == document.KindObject:
			if inner := withdraw(present.Object(), setting.Object()); inner.Len() > 0 {
				left.Set(name, document.ValueOf(inner))
			} else {
				left.Delete(name)
			}
		case setting.Kind() != document.KindNull && equal(present, setting):
			left.Delete(name)
		}
	}
	return left
}

// difference returns the merge patch that makes one object of another, and whether there is
// any difference. Spellings that mean the same string are none.
func difference(from, to document.Object) (patch document.Object, any bool) {
	for name := range from.All() {
		if to.Get(name).Kind() == document.KindAbsent {
			patch.Set(name, document.Null)
		}
	}
	for name, value := range to.All() {
		present := from.Get(name)
		if value.Kind() == document.KindObject && present.Kind() == document.KindObject {
			if inner, any := difference(present.Object(), value.Object()); any {
				patch.Set(name, document.ValueOf(inner))
			}
		} else if !equal(present, value) {
			patch.Set(name, value)
		}
	}
	return patch, patch.Len() > 0
}

// equal reports whether two values are the same JSON, however their strings are escaped and
// their members ordered.
func equal(a, b document.Value) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	switch a.Kind() {
	case document.KindString:
		return a.Text() == b.Text()
	case document.KindArray:
		left, right := a.Elements(), b.Elements()
		if len(left) != len(right) {
			return false
		}
		for i := range left {
			if !equal(left[i], right[i]) {
				return false
			}
		}
		return true
	case document.KindObject:
		_, any := difference(a.Object(), b.Object())
		return !any
	}
	return a.String() == b.String()
}
