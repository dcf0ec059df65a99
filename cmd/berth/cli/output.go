package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/berth-iot/berth/document"
)

// Format is how results are printed.
type Format string

const (
	Table Format = "table" // for people; also the meaning of ""
	JSON  Format = "json"
)

// Set implements pflag.Value.
func (f *Format) Set(text string) error {
	switch Format(text) {
	case Table, JSON:
		*f = Format(text)
		return nil
	}
	return errors.New("table or json")
}

// String implements pflag.Value.
func (f *Format) String() string {
	if *f == "" {
		return string(Table)
	}
	return string(*f)
}

// Type implements pflag.Value.
func (f *Format) Type() string { return "table|json" }

// Print writes a result: as JSON, or as people calls it. Who has no room for it is told,
// as what is kept in a file may be all that there is of a key.
func (c *Env) Print(result any, people func(w io.Writer)) error {
	var text bytes.Buffer
	if c.Output == JSON {
		encoder := json.NewEncoder(&text)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(result); err != nil {
			return err
		}
	} else {
		people(&text)
	}
	if _, err := c.Stdout.Write(text.Bytes()); err != nil && !ReaderGone(err) {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// TellOfUnreadable says which records a list or file does not have.
func (c *Env) TellOfUnreadable() {
	for _, record := range c.Target.unreadable {
		fmt.Fprintf(c.Stderr, "berth: the record %s %s cannot be read: %s\n",
			Printable(record.Collection), Printable(record.Key), Printable(record.Reason))
	}
}

// Field is one line of a record for people: its name and its value.
type Field [2]string

// PrintFields writes fields below each other; those without a value are left out.
func PrintFields(w io.Writer, fields ...Field) {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, f := range fields {
		if f[1] != "" {
			fmt.Fprintf(table, "%s\t%s\n", f[0], Printable(f[1]))
		}
	}
	table.Flush()
}

// Printable is text as a terminal may have it: in one line, what does not print as Go
// escapes it. Anybody who reaches the server chooses registration ids, subjects
// of certificates and the bodies of messages, and must neither move the cursor of
// the person who looks nor add rows to a table.
func Printable(text string) string {
	text = strings.ToValidUTF8(text, string(unicode.ReplacementChar))
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return text
	}
	var shown strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			shown.WriteRune(r)
		} else {
			shown.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return shown.String()
}

// FormatTime writes a time for people, "" for none.
func FormatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// CompactJSON is a value as JSON in one line.
func CompactJSON(value any) string {
	encoded, err := document.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(encoded)
}

// OrDash stands for what is empty in a table.
func OrDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// Quote writes a word as a POSIX shell reads it back.
func Quote(word string) string {
	if !strings.ContainsAny(word, " \t\n'\"\\$`&|;<>()*?[]#~!{}") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// FormatMillis is a time of a log for people.
func FormatMillis(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }
