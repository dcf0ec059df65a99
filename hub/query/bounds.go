package query

import (
	"bytes"
	"slices"
)

// Bound is what a condition asks of the value at one path: wherever the condition holds,
// the value is one of Equal, or, where that is nil, a text that begins with Prefix.
type Bound struct {
	Path   Path
	Equal  [][]byte // as JSON, as document.TextOf and json.Marshal write it
	Prefix string
}

// Texts returns what those of Equal say that are texts.
func (b Bound) Texts() (texts []string) {
	for _, encoded := range b.Equal {
		if v := valueOf(encoded); v.kind == text {
			texts = append(texts, string(v.bytes))
		}
	}
	return texts
}

// Is reports whether the value can be this text alone.
func (b Bound) Is(text string) bool {
	texts := b.Texts()
	return len(b.Equal) == 1 && len(texts) == 1 && texts[0] == text
}

// Bounds returns what can be told of where the condition holds, so that not all documents
// need be looked at.
func (c *Condition) Bounds() []Bound {
	if c.where == nil {
		return nil
	}
	var bounds []Bound
	for _, b := range boundsOf(c.where) {
		bounds = append(bounds, Bound{c.Paths[b.slot], b.equal, b.prefix})
	}
	return bounds
}

type bound struct {
	slot   int
	equal  [][]byte
	prefix string
}

func boundsOf(n node) []bound {
	switch n := n.(type) {
	case comparison:
		slot, constant, ok := against(n.left, n.right)
		if !ok {
			slot, constant, ok = against(n.right, n.left)
		}
		if ok && n.operator == "=" && constant.primitive() {
			return []bound{{slot: slot, equal: [][]byte{constant.json()}}}
		}
	case in:
		if of, ok := n.of.(reference); ok {
			b := bound{slot: of.slot, equal: [][]byte{}}
			for _, element := range n.set {
				if element.primitive() {
					b.equal = append(b.equal, element.json())
				}
			}
			return []bound{b}
		}
	case prefixed:
		return []bound{{slot: n.of.slot, prefix: string(n.prefix)}}
	case junction:
		if n.or {
			return boundOfEither(n.terms)
		}
		var bounds []bound
		for _, term := range n.terms {
			bounds = append(bounds, boundsOf(term)...)
		}
		return bounds
	}
	return nil
}

// against returns the path and the constant of a comparison of the two.
func against(path, constant node) (slot int, _ value, ok bool) {
	of, isPath := path.(reference)
	to, isConstant := constant.(literal)
	return of.slot, to.value, isPath && isConstant
}

// boundOfEither is a bound on a path that all terms have one on, by what it is equal to.
func boundOfEither(terms []node) []bound {
	var either bound
	for i, term := range terms {
		of := boundsOf(term)
		at := slices.IndexFunc(of, func(b bound) bool { return b.equal != nil && (i == 0 || b.slot == either.slot) })
		if at < 0 {
			return nil
		}
		either.slot = of[at].slot
		either.equal = append(either.equal, of[at].equal...)
	}
	return []bound{either}
}

// prefixed is STARTSWITH of a path and a text.
type prefixed struct {
	of     reference
	prefix []byte
}

func (n prefixed) eval(values [][]byte) value {
	of := n.of.eval(values)
	if of.kind != text {
		return value{}
	}
	return truth(bytes.HasPrefix(of.bytes, n.prefix))
}
