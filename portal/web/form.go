package web

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
)

// MaxFile is how many bytes of a small file, such as a certificate, a form may bring.
const MaxFile = 64 << 10

const (
	maxForm  = 16 << 20 // bytes of a form with its files, most of which may be thrown away
	maxField = 1 << 20  // bytes of a field
	maxKept  = 2 << 20  // bytes of all that is kept of a form
	maxParts = 4096     // fields and files of a form in parts: each takes microseconds, however small it is
	formTime = time.Minute
)

// readForm reads what a form sent. A file takes the place of the text field of
// its name without File: the pages have both for the same thing. A file that is
// too large is read to its end, or the browser would not show the answer.
func (c *Call) readForm() error {
	controller := http.NewResponseController(c.Writer)
	err := controller.SetReadDeadline(time.Now().Add(formTime))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	c.form, c.oversized = url.Values{}, map[string]string{}
	body := http.MaxBytesReader(c.Writer, c.Request.Body, maxForm)
	kind, parameters, err := mime.ParseMediaType(c.Request.Header.Get("Content-Type"))
	if err == nil && kind == "multipart/form-data" {
		err = c.readParts(multipart.NewReader(body, parameters["boundary"]))
	} else {
		var text []byte
		if text, err = io.ReadAll(http.MaxBytesReader(c.Writer, body, maxField)); err == nil {
			c.form, err = url.ParseQuery(string(text))
		}
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errParts):
		return fault.New(fault.MessageTooLarge, "The form has more than %d fields", maxParts)
	case errors.As(err, &tooLarge):
		return fault.New(fault.MessageTooLarge, "The form is larger than %d bytes", tooLarge.Limit)
	case err != nil:
		return fault.New(fault.BadRequest, "The form did not arrive whole").Because(err)
	}
	for name, values := range c.form {
		for _, value := range append(values[:len(values):len(values)], name) {
			if !utf8.ValidString(value) {
				return fault.New(fault.BadRequest, "The form is not in UTF-8. Send it from the page of this portal")
			}
		}
	}
	return nil
}

var errParts = errors.New("the form has too many parts")

func (c *Call) readParts(reader *multipart.Reader) error {
	for kept, parts := 0, 1; ; parts++ {
		part, err := reader.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if parts > maxParts {
			return errParts
		}
		name, isFile := part.FormName(), part.FileName() != ""
		limit := int64(maxField)
		if isFile {
			limit = MaxFile
		}
		content, err := io.ReadAll(io.LimitReader(part, limit+1))
		if err != nil {
			return err
		}
		rest, err := io.Copy(io.Discard, part)
		if err != nil {
			return err
		}
		if kept += len(content) + len(name); kept > maxKept {
			return &http.MaxBytesError{Limit: maxKept}
		}
		field, _ := strings.CutSuffix(name, "File")
		switch {
		case int64(len(content))+rest > limit && isFile:
			c.oversized[field] = part.FileName()
		case int64(len(content)) > limit:
			return &http.MaxBytesError{Limit: limit}
		case isFile:
			c.form.Set(field, textOf(content))
		case part.FormName() != field && len(content) == 0: // a file field without a file
		case c.form.Get(name) == "":
			c.form.Set(name, string(content))
		case name != "primary" && name != "secondary":
			c.form.Add(name, string(content))
		}
	}
}

// textOf is a file as a text field can hold it.
func textOf(content []byte) string {
	if utf8.Valid(content) {
		return string(content)
	}
	return base64.StdEncoding.EncodeToString(content)
}

// Value returns a field of the form, "" when it has none of the name.
func (c *Call) Value(name string) string { return c.form.Get(name) }

// Values returns those of a field that there may be several of, such as boxes.
func (c *Call) Values(name string) []string {
	return slices.DeleteFunc(slices.Clone(c.form[name]), func(value string) bool { return value == "" })
}

// Text returns a field of the form without the space around it and with plain
// line ends.
func (c *Call) Text(name string) string {
	return strings.TrimSpace(strings.ReplaceAll(c.Value(name), "\r\n", "\n"))
}

// Form returns the fields of the form, nil when none was sent.
func (c *Call) Form() url.Values { return c.form }

// Oversized returns the name of the file that was sent as this field and is larger than
// MaxFile, so that nothing of it was kept; ok reports whether there is one.
func (c *Call) Oversized(field string) (file string, ok bool) {
	file, ok = c.oversized[field]
	return file, ok
}
