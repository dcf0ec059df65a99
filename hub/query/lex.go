package query

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// tokenKind is what sort of token there is.
type tokenKind int

const (
	endToken     tokenKind = iota
	nameToken              // an identifier or a keyword
	escapedToken           // a name in [[…]], never a keyword
	numberToken
	textToken
	symbolToken // an operator, parenthesis, comma, …
)

// token is one word of a query. text is what a name, string or symbol says, and a number
// as it is spelled.
type token struct {
	kind   tokenKind
	at     int // in bytes
	text   string
	number float64
}

// is reports whether the token is this keyword, in upper case, or symbol.
func (t token) is(word string) bool {
	switch t.kind {
	case nameToken:
		return strings.EqualFold(t.text, word)
	case symbolToken:
		return t.text == word
	}
	return false
}

// lexer takes a text apart.
type lexer struct {
	text string
	at   int
}

// symbols are the tokens that are no words, the longer ones first.
var symbols = []string{"!=", "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",", ".",
	";"}

// next returns the next token.
func (l *lexer) next() (token, error) {
	for l.at < len(l.text) {
		r, size := utf8.DecodeRuneInString(l.text[l.at:])
		if !unicode.IsSpace(r) && r != '\uFEFF' {
			break
		}
		l.at += size
	}
	if l.at == len(l.text) {
		return token{kind: endToken, at: l.at}, nil
	}
	rest, at := l.text[l.at:], l.at
	first, _ := utf8.DecodeRuneInString(rest)
	switch {
	case startsName(first):
		return token{kind: nameToken, at: at, text: l.while(partOfName)}, nil
	case first == '\'' || first == '"':
		return l.quoted(byte(first))
	case strings.HasPrefix(rest, "[["):
		end := strings.Index(rest, "]]")
		if end < 0 {
			return token{}, errorAt(at, "[[ has no ]]")
		}
		l.at += end + len("]]")
		return token{kind: escapedToken, at: at, text: rest[len("[["):end]}, nil
	case isDigit(first):
		return l.number()
	}
	for _, symbol := range symbols {
		if strings.HasPrefix(rest, symbol) {
			l.at += len(symbol)
			return token{kind: symbolToken, at: at, text: symbol}, nil
		}
	}
	return token{}, errorAt(at, "%q can't stand here", string(first))
}

// member returns the name behind a full stop. It may be one that has to be escaped
// elsewhere: a keyword, or a name that begins with a digit.
func (l *lexer) member() (token, error) {
	at := l.at
	if name := l.while(partOfName); name != "" {
		return token{kind: nameToken, at: at, text: name}, nil
	}
	t, err := l.next()
	if err == nil && t.kind != escapedToken && t.kind != nameToken {
		err = errorAt(t.at, "a name must follow the full stop")
	}
	return t, err
}

func (l *lexer) while(wanted func(rune) bool) string {
	begin := l.at
	for l.at < len(l.text) {
		r, size := utf8.DecodeRuneInString(l.text[l.at:])
		if !wanted(r) {
			break
		}
		l.at += size
	}
	return l.text[begin:l.at]
}

func startsName(r rune) bool { return r == '_' || r == '$' || unicode.IsLetter(r) }

func partOfName(r rune) bool {
	return startsName(r) || isDigit(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r)
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

// number reads a decimal number, or a hexadecimal one with 0x.
func (l *lexer) number() (token, error) {
	t := token{kind: numberToken, at: l.at}
	rest := l.text[l.at:]
	if len(rest) > 1 && rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'X') {
		l.at += len("0x")
		digits := l.while(partOfName)
		n, err := strconv.ParseUint(digits, 16, 64)
		if err != nil {
			return t, errorAt(t.at, "0x%.32s is no hexadecimal number of at most 64 bits", digits)
		}
		t.number = float64(n)
		t.text = l.text[t.at:l.at]
		return t, nil
	}
	l.while(isDigit)
	if l.at < len(l.text) && l.text[l.at] == '.' {
		l.at++
		l.while(isDigit)
	}
	if exponent := l.text[l.at:]; exponent != "" && (exponent[0] == 'e' || exponent[0] == 'E') {
		l.at++
		if len(exponent) > 1 && (exponent[1] == '+' || exponent[1] == '-') {
			l.at++
		}
		l.while(isDigit)
	}
	l.while(partOfName) // 12ab is no number followed by a name
	t.text = l.text[t.at:l.at]
	var err error
	if t.number, err = strconv.ParseFloat(t.text, 64); err != nil || strings.Contains(t.text, "_") {
		return t, errorAt(t.at, "%.32q is no number", t.text)
	}
	return t, nil
}

// quoted reads a string in quotation marks, in which a backslash escapes.
func (l *lexer) quoted(mark byte) (token, error) {
	t := token{kind: textToken, at: l.at}
	var b strings.Builder
	for l.at++; l.at < len(l.text); l.at++ {
		switch c := l.text[l.at]; c {
		case mark:
			l.at++
			t.text = b.String()
			return t, nil
		case '\\':
			if err := l.escape(&b); err != nil {
				return t, err
			}
		default:
			b.WriteByte(c)
		}
	}
	return t, errorAt(t.at, "the string has no end")
}

// escape reads an escape and stands on its last character then.
func (l *lexer) escape(b *strings.Builder) error {
	begin := l.at
	l.at++
	if l.at == len(l.text) {
		return errorAt(begin, "the string has no end")
	}
	switch c := l.text[l.at]; c {
	case '\'', '"', '\\', '/':
		b.WriteByte(c)
	case 'b', 'f', 'n', 'r', 't':
		b.WriteByte(map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}[c])
	case 'u':
		r, ok := l.hex4()
		if ok && utf16.IsSurrogate(r) {
			second := rune(utf8.RuneError)
			if strings.HasPrefix(l.text[l.at+1:], `\u`) {
				l.at += len(`\u`)
				second, ok = l.hex4()
			}
			r = utf16.DecodeRune(r, second)
			ok = ok && r != utf8.RuneError
		}
		if !ok {
			return errorAt(begin, `\u must be followed by the four hexadecimal digits of a character`)
		}
		b.WriteRune(r)
	default:
		return errorAt(begin, `\' \" \\ \n \r \t \b \f \/ and \u with four digits are the escapes in a string`)
	}
	return nil
}

// hex4 reads four digits behind where it stands.
func (l *lexer) hex4() (rune, bool) {
	if len(l.text) < l.at+1+4 {
		return 0, false
	}
	n, err := strconv.ParseUint(l.text[l.at+1:l.at+1+4], 16, 32)
	l.at += 4
	return rune(n), err == nil
}
