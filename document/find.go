package document

import (
	"bytes"
	"encoding/json"
	"iter"
)

// Finder looks for values in JSON by their paths, in one pass and without decoding the
// rest. It is for JSON that this server has written: of what is not whole it finds nothing
// or something, and of members with the same name the first. It does not change, so many
// goroutines may use it at once.
type Finder struct {
	root  finderNode
	paths int
}

// finderNode is what is looked for in one object.
type finderNode struct {
	names []string
	next  []finderNode // by the index of the name
	found []int        // the paths that end here
}

// NewFinder returns what looks for these paths of names. An empty path is the whole.
func NewFinder(paths ...[]string) *Finder {
	f := &Finder{paths: len(paths)}
	for i, path := range paths {
		node := &f.root
		for _, name := range path {
			node = node.child(name)
		}
		node.found = append(node.found, i)
	}
	return f
}

func (n *finderNode) child(name string) *finderNode {
	for i := range n.names {
		if n.names[i] == name {
			return &n.next[i]
		}
	}
	n.names, n.next = append(n.names, name), append(n.next, finderNode{})
	return &n.next[len(n.next)-1]
}

// Find puts the JSON of each path into found, which has as many elements as there are
// paths, nil where there is none. What it puts there are parts of text.
func (f *Finder) Find(text []byte, found [][]byte) {
	clear(found)
	s := scanner{text: text}
	s.find(&f.root, found)
}

// scanner goes through JSON; it stands still at the end, and never goes beyond it.
type scanner struct {
	text []byte
	at   int
}

// find reads a value, and in it what the node asks for.
func (s *scanner) find(node *finderNode, found [][]byte) {
	begin := s.space()
	if len(node.names) == 0 || s.peek() != '{' {
		s.skip()
	} else {
		s.members(node, found)
	}
	for _, path := range node.found {
		found[path] = s.text[begin:s.at]
	}
}

// members reads an object. It stops reading names once all that is looked for was there.
func (s *scanner) members(node *finderNode, found [][]byte) {
	s.at++ // the brace
	wanted, seen := len(node.names), uint64(0)
	for s.space(); s.peek() == '"'; s.space() {
		name := s.quoted()
		s.space()
		if s.peek() != ':' {
			s.at = len(s.text)
			return
		}
		s.at++
		s.space()
		next := -1
		if wanted > 0 {
			next = node.find(name)
		}
		switch bit := uint64(1) << (max(next, 0) % 64); {
		case next < 0, next < 64 && seen&bit != 0:
			s.skip()
		default:
			if next < 64 {
				seen |= bit
				wanted--
			}
			s.find(&node.next[next], found)
		}
		s.space()
		if s.peek() != ',' {
			break
		}
		s.at++
		if wanted == 0 {
			s.close()
			return
		}
	}
	if s.peek() != '}' {
		s.at = len(s.text)
		return
	}
	s.at++
}

// find returns the index of a name, as it is spelled in JSON, or -1.
func (n *finderNode) find(spelled []byte) int {
	if bytes.IndexByte(spelled, '\\') >= 0 {
		var name string
		if json.Unmarshal(append(append([]byte{'"'}, spelled...), '"'), &name) != nil {
			return -1
		}
		spelled = []byte(name)
	}
	for i := range n.names {
		if n.names[i] == string(spelled) {
			return i
		}
	}
	return -1
}

// space skips white space, and returns where it ends.
func (s *scanner) space() int {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return s.at
		}
	}
	return s.at
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// quoted reads a string and returns what is between its quotation marks.
func (s *scanner) quoted() []byte {
	s.at++
	begin := s.at
	for {
		end := bytes.IndexByte(s.text[s.at:], '"')
		if end < 0 {
			s.at = len(s.text)
			return s.text[begin:]
		}
		end += s.at
		escapes := end
		for escapes > begin && s.text[escapes-1] == '\\' {
			escapes--
		}
		s.at = end + 1
		if (end-escapes)%2 == 0 {
			return s.text[begin:end]
		}
	}
}

// skip reads a value.
func (s *scanner) skip() {
	switch s.peek() {
	case '"':
		s.quoted()
	case '{', '[':
		s.at++
		s.close()
	default:
		for s.at < len(s.text) {
			switch s.text[s.at] {
			case ',', ']', '}', ' ', '\t', '\r', '\n':
				return
			}
			s.at++
		}
	}
}

// close reads to the end of the object or array that it is in.
func (s *scanner) close() {
	for depth := 1; s.at < len(s.text); {
		switch s.text[s.at] {
		case '"':
			s.quoted()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.at++
		if depth == 0 {
			return
		}
	}
}

// Elements yields the JSON of each element of an array that is JSON of this server, as
// parts of it.
func Elements(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		s := scanner{text: text}
		if s.space(); s.peek() != '[' {
			return
		}
		s.at++
		for s.space(); s.at < len(s.text) && s.peek() != ']'; s.space() {
			begin := s.at
			s.skip()
			if s.at == begin || !yield(s.text[begin:s.at]) {
				return
			}
			if s.space(); s.peek() == ',' {
				s.at++
			}
		}
	}
}
