package query

import "math"

// node is an expression. It is evaluated from the JSON at the paths of its query.
//
// What can't be computed is undefined: a path that leads nowhere, and any operator on
// what it is not for. AND and OR are known from one side where that decides, all else that
// rests on something undefined is undefined as well, and a condition holds only when it
// is true. So tags.a != 'x' does not hold where there is no tags.a.
type node interface {
	eval(values [][]byte) value
}

type literal struct{ value value }

func (n literal) eval([][]byte) value { return n.value }

// reference is a path, as an index into those of the query.
type reference struct{ slot int }

func (n reference) eval(values [][]byte) value { return valueOf(values[n.slot]) }

type not struct{ of node }

func (n not) eval(values [][]byte) value {
	of := n.of.eval(values)
	if of.kind != boolean {
		return value{}
	}
	return truth(!of.truth)
}

type minus struct{ of node }

func (n minus) eval(values [][]byte) value {
	of := n.of.eval(values)
	if of.kind != number {
		return value{}
	}
	of.number = -of.number
	return of
}

// junction is AND of its terms, or OR.
type junction struct {
	or    bool
	terms []node
}

func (n junction) eval(values [][]byte) value {
	result := truth(!n.or)
	for _, term := range n.terms {
		switch of := term.eval(values); {
		case of.kind != boolean:
			result = value{}
		case of.truth == n.or:
			return of
		}
	}
	return result
}

// comparison is one of = != < <= > >=.
type comparison struct {
	operator    string
	left, right node
}

func (n comparison) eval(values [][]byte) value {
	left, right := n.left.eval(values), n.right.eval(values)
	if !left.primitive() || !right.primitive() {
		return value{}
	}
	switch n.operator {
	case "=":
		return truth(equal(left, right))
	case "!=":
		return truth(!equal(left, right))
	}
	order, ok := compare(left, right)
	if !ok {
		return value{}
	}
	switch n.operator {
	case "<":
		return truth(order < 0)
	case "<=":
		return truth(order <= 0)
	case ">":
		return truth(order > 0)
	}
	return truth(order >= 0)
}

// arithmetic is one of + - * / %.
type arithmetic struct {
	operator    string
	left, right node
}

func (n arithmetic) eval(values [][]byte) value {
	left, right := n.left.eval(values), n.right.eval(values)
	if left.kind != number || right.kind != number {
		return value{}
	}
	result := 0.0
	switch a, b := left.number, right.number; n.operator {
	case "+":
		result = a + b
	case "-":
		result = a - b
	case "*":
		result = a * b
	case "/":
		result = a / b
	case "%":
		result = math.Mod(a, b)
	}
	if math.IsNaN(result) || math.IsInf(result, 0) {
		return value{}
	}
	return value{kind: number, number: result}
}

// in is IN with its list.
type in struct {
	of  node
	set []value
}

func (n in) eval(values [][]byte) value {
	of := n.of.eval(values)
	if !of.primitive() {
		return value{}
	}
	for _, element := range n.set {
		if element.primitive() && equal(of, element) {
			return truth(true)
		}
	}
	return truth(false)
}

// maxArguments is how many arguments a function has at most.
const maxArguments = 2

type call struct {
	function  func(arguments [maxArguments]value) value
	arguments []node
}

func (n call) eval(values [][]byte) value {
	var arguments [maxArguments]value
	for i, argument := range n.arguments {
		arguments[i] = argument.eval(values)
	}
	return n.function(arguments)
}

// newBinary returns the node of an operator between two others.
func newBinary(operator string, left, right node) node {
	switch operator {
	case "AND", "OR":
		if chain, ok := left.(junction); ok && chain.or == (operator == "OR") {
			chain.terms = append(chain.terms, right)
			return chain
		}
		return junction{operator == "OR", []node{left, right}}
	case "<>":
		return comparison{"!=", left, right}
	case "=", "!=", "<", "<=", ">", ">=":
		return comparison{operator, left, right}
	}
	return arithmetic{operator, left, right}
}
