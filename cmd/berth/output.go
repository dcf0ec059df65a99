package main

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

// format is how results are printed.
type format string

const (
	asTable format = "table" // for people; also the meaning of ""
	asJSON  format = "json"
)

// Set implements pflag.Value.
func (f *format) Set(text string) error {
	switch format(text) {
	case asTable, asJSON:
		*f = format(text)
		return nil
	}
	return errors.New("table or json")
}

// String implements pflag.Value.
func (f *format) String() string {
	if *f == "" {
		return string(asTable)
	}
	return string(*f)
}

// Type implements pflag.Value.
func (f *format) Type() string { return "table|json" }

// print writes a result: as JSON, or as people calls it. Who has no room for it is told,
// as what is kept in a file may be all that there is of a key.
func (c *cli) print(result any, people func(w io.Writer)) error {
	var text bytes.Buffer
	if c.output == asJSON {
		encoder := json.NewEncoder(&text)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(result); err != nil {
			return err
		}
	} else {
		people(&text)
	}
	if _, err := c.stdout.Write(text.Bytes()); err != nil && !readerGone(err) {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// tellOfUnreadable says which records a list or file does not have.
func (c *cli) tellOfUnreadable() {
	for _, record := range c.target.unreadable {
		fmt.Fprintf(c.stderr, "berth: the record %s %s cannot be read: %s\n", plain(record.Collection), plain(record.Key), plain(record.Reason))
	}
}

// field is one line of a record for people.
type field struct{ name, value string }

// record writes fields below each other; those without a value are left out.
func record(w io.Writer, fields ...field) {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, f := range fields {
		if f.value != "" {
			fmt.Fprintf(table, "%s\t%s\n", f.name, plain(f.value))
		}
	}
	table.Flush()
}

// plain is text as a terminal may have it: in one line, what does not print as Go
// escapes it. Anybody who reaches the server chooses registration ids, subjects
// of certificates and the bodies of messages, and must neither move the cursor of
// the person who looks nor add rows to a table.
func plain(text string) string {
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

// when writes a time for people, "" for none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// compact is a value as JSON in one line.
func compact(value any) string {
	encoded, err := document.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(encoded)
}

// orDash stands for what is empty in a table.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// quote writes a word as a POSIX shell reads it back.
func quote(word string) string {
	if !strings.ContainsAny(word, " \t\n'\"\\$`&|;<>()*?[]#~!{}") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// localMillis is a time of a log for people.
func localMillis(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }
