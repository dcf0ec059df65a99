package https

import (
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/wire/header"
)

// How many items an answer with a part of a list has: when the request does not say, and
// at most.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// Call is one request on its way through an operation.
type Call struct {
	*http.Request
	Hub     *hub.Hub // for the hub's operations
	Content []byte   // the body, see Decode
	Status  int      // of the answer; when 0 it is 200, or 204 without a body

	door       *door
	w          http.ResponseWriter
	parameters map[string]string // of the path, decoded
	streamed   bool              // the operation writes the answer itself
}

// Parameter returns the id that the path of the request has under a name, decoded.
func (c *Call) Parameter(name string) string { return c.parameters[name] }

// SetHeader sets a header of the answer under the very name given, in place of what it
// was: see setHeader.
func (c *Call) SetHeader(name, value string) { setHeader(c.w.Header(), name, value) }

// Fields yields the names and values in the header of the request, in their order and with
// the names as the client spelled them.
func (c *Call) Fields() iter.Seq2[string, string] { return header.Fields(c.Request) }

// Query returns a parameter of the address.
func (c *Call) Query(name string) string { return c.URL.Query().Get(name) }

// Flag returns a parameter of the address that is true or false, or 1 or 0, and false when it
// is not there.
func (c *Call) Flag(name string) (bool, error) {
	if !c.URL.Query().Has(name) {
		return false, nil
	}
	switch text := c.Query(name); strings.ToLower(text) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	default:
		return false, fault.New(fault.ArgumentInvalid, "%s must be true or false, not %.32q", name, text)
	}
}

// checkQuery refuses an address whose parameters can't be read: package url would leave
// them out.
func (c *Call) checkQuery() error {
	if _, err := url.ParseQuery(c.URL.RawQuery); err != nil {
		return fault.New(fault.ArgumentInvalid,
			"The parameters in the address can't be read. They have & between them, "+
				"and what stands for itself is percent-encoded: %%25 is %%, and %%3B is ;").Because(err)
	}
	return nil
}

// Number returns a parameter that is a whole number from 1 to most, and
// otherwise when it is not there.
func (c *Call) Number(name, text string, otherwise, most int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fault.New(fault.ArgumentInvalid, "%s must be a whole number from 1, not %.32q", name, text)
	}
	return min(n, most), nil
}

// Proven tells the listener that the client has proved who it is.
func (c *Call) Proven() { c.door.Proven(c.Context()) }

// Tagged returns a value with its ETag in the header, or the error.
func (c *Call) Tagged(value any, etag string, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	c.SetHeader("ETag", `"`+strings.Trim(etag, `"`)+`"`)
	return value, nil
}

// Stream begins an answer that the operation writes itself, as it comes. An error that it
// returns after this cuts the connection, so that the client does not take it for the
// end.
func (c *Call) Stream(contentType string) http.ResponseWriter {
	c.w.Header().Set("Content-Type", contentType)
	c.w.WriteHeader(http.StatusOK)
	c.streamed = true
	return c.w
}

// waitSlack is how much longer than it waits an operation has for the rest.
const waitSlack = 30 * time.Second

// Wait gives an operation longer than others have for its answer: it waits for somebody
// else for so long at most.
func (c *Call) Wait(longest time.Duration) error {
	controller, end := http.NewResponseController(c.w), time.Now().Add(longest+waitSlack)
	// By the deadline for reading the server would also take the client for gone.
	err := errors.Join(controller.SetReadDeadline(end), controller.SetWriteDeadline(end))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// Write answers with bytes that are no JSON, and with the headers that were set.
func (c *Call) Write(content []byte) {
	if c.w.Header().Get("Content-Type") == "" {
		c.w.Header().Set("Content-Type", "application/octet-stream")
	}
	c.w.Header().Set("X-Content-Type-Options", "nosniff")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	c.w.WriteHeader(http.StatusOK)
	c.streamed = true
	c.w.Write(content) // the client may be gone
}

// Evidence is what a device shows by HTTPS.
func (c *Call) Evidence() credential.Evidence {
	evidence := credential.Evidence{Token: c.Header.Get("Authorization"), Protocol: "https",
		RemoteAddr: c.RemoteAddr, APIVersion: c.Query("api-version")}
	if c.TLS != nil {
		evidence.Certificates = c.TLS.PeerCertificates
	}
	return evidence
}
