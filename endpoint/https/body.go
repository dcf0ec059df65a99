package https

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// ReadBody reads the body, whatever it is, up to a limit in bytes.
func (c *Call) ReadBody(limit int64) error {
	if err := c.readAll(limit); err != nil || len(c.Content) == 0 {
		return err
	}
	for _, encoding := range c.Header.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(encoding), "identity") && encoding != "" {
			return fault.New(fault.UnsupportedMediaType,
				"The body has the Content-Encoding %.64q, which is not taken. Send it without", encoding)
		}
	}
	return nil
}

func (c *Call) readAll(limit int64) (err error) {
	c.Content, err = io.ReadAll(http.MaxBytesReader(c.w, c.Request.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fault.New(fault.MessageTooLarge, "The body is larger than %d bytes", tooLarge.Limit)
	case err != nil:
		return fault.New(fault.BadRequest, "The body did not arrive whole").Because(err)
	}
	return nil
}

// read takes the body, which must be JSON where an operation has one. Bodies
// that nobody asked for are tolerated while they are small: the Node SDK sends
// {} with a GET.
func (c *Call) read(limit int64) error {
	if limit == 0 {
		return c.readAll(1 << 10)
	}
	if err := c.ReadBody(max(limit, 1<<10)); err != nil {
		return err
	}
	if err := document.CheckDepth(c.Content, document.MaxDepth); err != nil {
		return fault.New(fault.BadFormat, "The body can't be taken: %v", err)
	}
	if len(c.Content) == 0 {
		return nil
	}
	if contentType := c.Header.Get("Content-Type"); contentType != "" {
		kind, parameters, err := mime.ParseMediaType(contentType)
		if err != nil || kind != "application/json" {
			return fault.New(fault.UnsupportedMediaType, "The body must be application/json, not %.64q", contentType)
		}
		if charset := parameters["charset"]; !isUTF8(charset) {
			return fault.New(fault.UnsupportedMediaType,
				"The body is in %.64q. Send it in UTF-8, as Content-Type: application/json; charset=utf-8", charset)
		}
	}
	c.Content = bytes.TrimPrefix(c.Content, []byte("\uFEFF")) // .NET writes it in front of UTF-8
	if err := document.CheckText(c.Content); err != nil {
		return fault.New(fault.BadFormat, "The body can't be taken: %v", err)
	}
	return nil
}

// isUTF8 reports whether text in a charset is UTF-8 as well. Which it is without a
// charset.
func isUTF8(charset string) bool {
	switch strings.ToLower(charset) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return true
	}
	return false
}

// Decode reads the body as JSON of one value. Fields that are not known are left
// aside: SDKs send back what they were given, and more in later versions.
func (c *Call) Decode(into any) error {
	if body := bytes.TrimSpace(c.Content); len(body) == 0 || string(body) == "null" {
		return fault.New(fault.ArgumentNull, "The request has no body. It must be JSON")
	}
	if err := json.Unmarshal(c.Content, into); err != nil {
		if !json.Valid(c.Content) {
			return fault.New(fault.BadFormat, "The body is not JSON: %v", document.Syntax(c.Content))
		}
		if misfit, ok := document.FindMisfit(c.Content, into); ok {
			return fault.New(fault.BadFormat, "The body does not fit: %.200s must be %s, not %s",
				cmp.Or(misfit.Path, "it"), fault.Word(misfit.Wanted), fault.Word(misfit.Got))
		}
		return fault.New(fault.BadFormat, "The body does not have the form that this operation takes").Because(err)
	}
	return nil
}
