package query

import (
	"math"
	"slices"
	"strings"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

const (
	maxNesting = 64  // of parentheses, functions and signs in each other
	maxPaths   = 100 // that are different, in one query
)

// parser reads a query from left to right, one token ahead.
type parser struct {
	lexer
	token   token // the one that is looked at
	err     error // of the lexer, when it is looked at
	source  Source
	paths   []Path
	slots   map[string]int // the index into paths
	nesting int
}

func newParser(text string) *parser {
	p := &parser{lexer: lexer{text: text}, source: Devices, slots: make(map[string]int)}
	p.advance()
	return p
}

func (p *parser) advance() { p.token, p.err = p.lexer.next() }

// accept takes a keyword or symbol if it is the next.
func (p *parser) accept(word string) bool {
	if p.err != nil || !p.token.is(word) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) expect(word string) error {
	if p.accept(word) {
		return nil
	}
	return p.unexpected(fault.Word(word))
}

// missing are words that SQL has and this language has not.
var missing = []string{"ORDER", "JOIN", "LIKE", "DISTINCT", "HAVING", "LIMIT", "OFFSET", "BETWEEN", "CASE", "UNION",
	"EXISTS"}

// unexpected says what should stand in the place of the next token.
func (p *parser) unexpected(what fault.Word) error {
	switch {
	case p.err != nil:
		return p.err
	case p.token.kind == endToken:
		return errorAt(p.token.at, "it ends where there must be %s", what)
	case p.token.kind == nameToken && slices.Contains(missing, strings.ToUpper(p.token.text)):
		return errorAt(p.token.at, "the query language of IoT Hub has no %s", strings.ToUpper(p.token.text))
	}
	return errorAt(p.token.at, "there must be %s, not %.64q", what, p.lexer.text[p.token.at:p.lexer.at])
}

// end takes a semicolon that may be there, and nothing else.
func (p *parser) end() error {
	p.accept(";")
	if p.err == nil && p.token.kind == endToken {
		return nil
	}
	return p.unexpected("an operator or the end")
}

func (p *parser) query() (Query, error) {
	if err := p.expect("SELECT"); err != nil {
		return Query{}, err
	}
	var q Query
	var err error
	if p.accept("TOP") {
		if q.Top, err = p.top(); err != nil {
			return Query{}, err
		}
	}
	var items []selected
	if !p.accept("*") {
		if items, err = p.items(); err != nil {
			return Query{}, err
		}
	}
	if err := p.expect("FROM"); err != nil {
		return Query{}, err
	}
	if q.Condition, err = p.from(); err != nil {
		return Query{}, err
	}
	if q.Items, err = p.resolve(items); err != nil {
		return Query{}, err
	}
	if p.accept("GROUP") {
		if q.Group, err = p.group(items == nil); err != nil {
			return Query{}, err
		}
	}
	if err := p.end(); err != nil {
		return Query{}, err
	}
	if err := q.checkGroups(); err != nil {
		return Query{}, err
	}
	p.complete(&q.Condition)
	return q, nil
}

// condition reads what ParseCondition takes.
func (p *parser) condition() (c Condition, err error) {
	c.Source = Devices
	switch {
	case p.accept("FROM"):
		c, err = p.from()
	case p.accept("*"):
	case p.err == nil && p.token.kind == endToken:
	default:
		p.accept("WHERE")
		c.where, err = p.expression(0)
	}
	if err == nil {
		err = p.end()
	}
	c.Filter = len(p.paths)
	p.complete(&c)
	return c, err
}

// complete gives a condition the paths that were found.
func (p *parser) complete(c *Condition) {
	c.Paths = p.paths
	names := make([][]string, len(p.paths))
	for i, path := range p.paths {
		names[i] = path
	}
	c.finder = document.NewFinder(names...)
}

// top reads the number of rows.
func (p *parser) top() (int, error) {
	parenthesis := p.accept("(")
	n := p.token.number
	if p.err != nil || p.token.kind != numberToken || n < 1 || n > math.MaxInt32 || n != math.Trunc(n) {
		return 0, p.unexpected("a whole number of rows, 1 or more,")
	}
	p.advance()
	if parenthesis {
		return int(n), p.expect(")")
	}
	return int(n), nil
}

// selected is an item of a SELECT list as it is read, before it is known of what.
type selected struct {
	at        int
	aggregate Aggregate
	path      Path // nil of COUNT()
	alias     string
}

func (p *parser) items() (items []selected, err error) {
	for {
		item := selected{at: p.token.at}
		if item.path, err = p.path(); err != nil {
			return nil, err
		}
		if len(item.path) == 1 && p.accept("(") {
			if err := p.aggregate(&item); err != nil {
				return nil, err
			}
		}
		if p.accept("AS") {
			if p.err != nil || p.token.kind != nameToken && p.token.kind != escapedToken {
				return nil, p.unexpected("a name")
			}
			item.alias = p.token.text
			p.advance()
		}
		items = append(items, item)
		if !p.accept(",") {
			return items, nil
		}
	}
}

// aggregate reads the rest of an aggregate, whose name was taken for a path.
func (p *parser) aggregate(item *selected) (err error) {
	item.aggregate = Aggregate(strings.ToUpper(item.path[0]))
	item.path = nil
	switch item.aggregate {
	case Count:
		p.accept("*")
		if p.accept(")") {
			return nil
		}
	case Avg, Sum, Min, Max:
	default:
		return errorAt(item.at, "the aggregates are COUNT, AVG, SUM, MIN and MAX, not %.64s", string(item.aggregate))
	}
	if item.path, err = p.path(); err != nil {
		return err
	}
	return p.expect(")")
}

// from reads the source and the WHERE clause.
func (p *parser) from() (c Condition, err error) {
	at := p.token.at
	path, err := p.path()
	if err != nil {
		return c, err
	}
	p.source = Source(strings.ToLower(strings.Join(path, ".")))
	if !slices.Contains([]Source{Devices, Modules, Jobs}, p.source) {
		return c, errorAt(at, "there are devices, devices.modules and devices.jobs, not %.64q", strings.Join(path, "."))
	}
	c.Source = p.source
	if p.accept("WHERE") {
		c.where, err = p.expression(0)
	}
	c.Filter = len(p.paths)
	return c, err
}

// resolve makes items of what was selected: paths are looked up, and each item gets a
// name, which is that of the last member of its path. Aggregates without an alias are
// $1, $2, …
func (p *parser) resolve(selection []selected) (items []Item, _ error) {
	unnamed := 0
	for _, s := range selection {
		item := Item{Name: s.alias, Aggregate: s.aggregate, Path: -1, at: s.at}
		if s.path != nil {
			slot, path, err := p.slot(s.at, s.path)
			if err != nil {
				return nil, err
			}
			item.Path = slot
			if item.Name == "" && item.Aggregate == "" {
				item.Name = path[len(path)-1]
			}
		}
		if item.Name == "" {
			unnamed++
			item.Name = aggregateName(unnamed)
		}
		if same := slices.IndexFunc(items, func(i Item) bool { return i.Name == item.Name }); same >= 0 {
			if items[same].Aggregate == item.Aggregate && items[same].Path == item.Path {
				continue
			}
			return nil, errorAt(s.at, "two members of the rows would be called %.64q. Name one of them with AS", item.Name)
		}
		items = append(items, item)
	}
	return items, nil
}

// group reads the paths of GROUP BY.
func (p *parser) group(all bool) (group []int, _ error) {
	if all {
		return nil, errorAt(p.token.at, "GROUP BY needs a list of members and aggregates behind SELECT, not *")
	}
	if err := p.expect("BY"); err != nil {
		return nil, err
	}
	for {
		at := p.token.at
		path, err := p.path()
		if err != nil {
			return nil, err
		}
		slot, _, err := p.slot(at, path)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(group, slot) {
			group = append(group, slot)
		}
		if !p.accept(",") {
			return group, nil
		}
	}
}

// checkGroups refuses a member that rows of several documents can't have.
func (q *Query) checkGroups() error {
	if !q.Aggregates() {
		return nil
	}
	for _, item := range q.Items {
		if item.Aggregate == "" && !slices.Contains(q.Group, item.Path) {
			return errorAt(item.at, "%.64q stands beside aggregates, and not in GROUP BY", item.Name)
		}
	}
	return nil
}

// path reads names with full stops between them.
func (p *parser) path() (Path, error) {
	if p.err != nil || p.token.kind != escapedToken && (p.token.kind != nameToken || isKeyword(p.token.text)) {
		return nil, p.unexpected("a name")
	}
	path := Path{p.token.text}
	for p.advance(); p.err == nil; p.advance() {
		switch {
		case p.token.is("."):
			if p.token, p.err = p.lexer.member(); p.err != nil {
				return nil, p.err
			}
		case p.token.kind != escapedToken:
			return path, nil
		}
		path = append(path, p.token.text)
	}
	return path, nil // what is wrong behind it is seen when that is looked at
}

// slot returns the index of a path, which it spells as Azure does, without the source in
// front of it.
func (p *parser) slot(at int, path Path) (int, Path, error) {
	path = canonical(p.source, path)
	key := strings.Join(path, "]]") // no name has that
	slot, known := p.slots[key]
	if !known {
		if len(p.paths) == maxPaths {
			return 0, nil, errorAt(at, "this is one more than the %d different paths that are allowed", maxPaths)
		}
		slot = len(p.paths)
		p.paths, p.slots[key] = append(p.paths, path), slot
	}
	return slot, path, nil
}

// The operators by how tightly they bind, as those of routes do (Azure/iotedge,
// Microsoft.Azure.Devices.Routing.Core, Condition.g4), but for NOT. There it takes the
// name behind it alone, so that NOT tags.a = 'x' holds for nothing. Where that would hold
// for something, with Boolean values, it means the same as here.
const (
	bindsOr = 1 + iota
	bindsAnd
	bindsNot
	bindsEqual
	bindsLess
	bindsPlus
	bindsTimes
	bindsMinus
)

var binding = map[string]int{"OR": bindsOr, "AND": bindsAnd,
	"=": bindsEqual, "!=": bindsEqual, "<>": bindsEqual,
	"<": bindsLess, "<=": bindsLess, ">": bindsLess, ">=": bindsLess, "IN": bindsLess, "NIN": bindsLess,
	"NOT": bindsLess, // NOT IN
	"+":   bindsPlus, "-": bindsPlus, "*": bindsTimes, "/": bindsTimes, "%": bindsTimes}

// keywords can be no names of roots, but in [[ ]].
var keywords = []string{"SELECT", "TOP", "FROM", "WHERE", "GROUP", "BY", "AS", "AND", "OR", "NOT", "IN", "NIN", "TRUE",
	"FALSE", "NULL", "UNDEFINED"}

func isKeyword(name string) bool {
	return slices.ContainsFunc(keywords, func(keyword string) bool { return strings.EqualFold(keyword, name) })
}

// operator returns the operator that the next token is, in upper case, "" for none.
func (p *parser) operator() string {
	if p.err != nil || p.token.kind != nameToken && p.token.kind != symbolToken {
		return ""
	}
	operator := strings.ToUpper(p.token.text)
	if binding[operator] == 0 {
		return ""
	}
	return operator
}

// expression reads one whose operators bind tighter than this.
func (p *parser) expression(than int) (node, error) {
	if p.nesting++; p.nesting > maxNesting {
		return nil, errorAt(p.token.at, "it is nested deeper than %d levels", maxNesting)
	}
	defer func() { p.nesting-- }()
	left, err := p.operand()
	for err == nil {
		operator := p.operator()
		binds := binding[operator]
		if operator == "" || binds <= than {
			break
		}
		p.advance()
		switch operator {
		case "NOT", "NIN", "IN":
			if operator == "NOT" {
				err = p.expect("IN")
			}
			if err == nil {
				left, err = p.in(left, operator != "IN")
			}
		default:
			var right node
			if right, err = p.expression(binds); err == nil {
				left = newBinary(operator, left, right)
			}
		}
	}
	return left, err
}

// operand reads what stands before or between operators.
func (p *parser) operand() (node, error) {
	switch t := p.token; {
	case p.err != nil:
		return nil, p.err
	case p.accept("("):
		inner, err := p.expression(0)
		if err == nil {
			err = p.expect(")")
		}
		return inner, err
	case p.accept("NOT"):
		inner, err := p.expression(bindsNot)
		return not{inner}, err
	case p.accept("-"):
		inner, err := p.expression(bindsMinus)
		return minus{inner}, err
	case t.kind == escapedToken, t.kind == nameToken && !isKeyword(t.text):
		return p.reference()
	}
	constant, err := p.constant()
	return literal{constant}, err
}

// reference reads a path or a function.
func (p *parser) reference() (node, error) {
	at := p.token
	path, err := p.path()
	if err != nil {
		return nil, err
	}
	if at.kind == nameToken && len(path) == 1 && p.accept("(") {
		return p.call(at)
	}
	slot, _, err := p.slot(at.at, path)
	return reference{slot}, err
}

// call reads the arguments of a function.
func (p *parser) call(name token) (node, error) {
	f, known := functions[strings.ToUpper(name.text)]
	switch aggregate := Aggregate(strings.ToUpper(name.text)); {
	case slices.Contains([]Aggregate{Count, Avg, Sum, Min, Max}, aggregate):
		return nil, errorAt(name.at, "%s can stand behind SELECT alone", string(aggregate))
	case !known:
		return nil, errorAt(name.at, "there is no function %.64s. The functions are %s", name.text, functionNames())
	}
	c := call{function: f.eval}
	for !p.accept(")") {
		if len(c.arguments) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		argument, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		c.arguments = append(c.arguments, argument)
	}
	if len(c.arguments) != f.arguments {
		return nil, errorAt(name.at, "%s takes %d arguments, and has %d here", strings.ToUpper(name.text), f.arguments,
			len(c.arguments))
	}
	if slot, start, ok := against(c.arguments[0], c.arguments[len(c.arguments)-1]); ok && start.kind == text &&
		strings.EqualFold(name.text, "STARTSWITH") {
		return prefixed{reference{slot}, start.bytes}, nil
	}
	return c, nil
}

// in reads the list behind IN.
func (p *parser) in(left node, negated bool) (node, error) {
	closing := "]"
	if p.accept("(") { // as SQL has it
		closing = ")"
	} else if err := p.expect("["); err != nil {
		return nil, err
	}
	set, err := p.constants(closing)
	if err != nil {
		return nil, err
	}
	if negated {
		return not{in{left, set}}, nil
	}
	return in{left, set}, nil
}

// constants reads a list of them, up to its closing bracket.
func (p *parser) constants(closing string) (list []value, _ error) {
	for !p.accept(closing) {
		if len(list) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		constant, err := p.constant()
		if err != nil {
			return nil, err
		}
		list = append(list, constant)
	}
	return list, nil
}

// constant reads a value that is written in the query.
func (p *parser) constant() (value, error) {
	switch t := p.token; {
	case p.err != nil:
	case t.kind == textToken:
		p.advance()
		return value{kind: text, bytes: []byte(t.text)}, nil
	case t.kind == numberToken:
		p.advance()
		return value{kind: number, number: t.number}, nil
	case p.accept("-"):
		if p.err == nil && p.token.kind == numberToken {
			n := -p.token.number
			p.advance()
			return value{kind: number, number: n}, nil
		}
		return value{}, p.unexpected("a number")
	case p.accept("TRUE"):
		return truth(true), nil
	case p.accept("FALSE"):
		return truth(false), nil
	case p.accept("NULL"):
		return value{kind: null}, nil
	case p.accept("UNDEFINED"):
		return value{}, nil
	case p.accept("["):
		if p.nesting++; p.nesting > maxNesting {
			return value{}, errorAt(t.at, "it is nested deeper than %d levels", maxNesting)
		}
		defer func() { p.nesting-- }()
		list, err := p.constants("]")
		return arrayOf(list), err
	}
	return value{}, p.unexpected("a name or a value")
}
