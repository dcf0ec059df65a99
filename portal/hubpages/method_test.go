package hubpages

import (
	"context"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/portal/web"
)

// echo is a device that answers each call with its payload.
type echo struct {
	silent
	session *connection.Session
	status  string
}

// Call implements connection.Downlink.
func (e *echo) Call(requestID, _ string, payload []byte) error {
	return e.session.AnswerMethod(context.Background(), requestID, e.status, payload)
}

// connectEcho connects a device that answers.
func (h *fixture) connectEcho(id, status string) {
	h.T.Helper()
	device, err := h.Hub.Device(ctx, id)
	h.Must(err)
	token, err := credential.NewToken(h.Hub.Host()+"/devices/"+id, "", *device.Authentication.SymmetricKey.PrimaryKey,
		h.Now().Add(time.Hour))
	h.Must(err)
	e := &echo{status: status}
	e.session, err = h.Hub.Connections().OpenSession(ctx, id, credential.Evidence{Token: token, Protocol: "mqtt"}, false,
		e)
	h.Must(err)
	h.T.Cleanup(func() { e.session.Close(nil) })
}

// TestInvokeMethod calls a method of a device and shows its answer, or says at the form why
// there is none, with what was typed.
func TestInvokeMethod(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	h.AddDevice("away")
	h.connectEcho("d1", "418")
	b := h.loggedIn(web.Operator)
	const path = "hubs/berth/device/d1/method"
	with := func(more url.Values) url.Values {
		form := url.Values{"name": {"reboot"}, "payload": {`{"delay": 3}`}, "responseTimeout": {"5"},
			"connectTimeout": {"0"}}
		for name, values := range more {
			form[name] = values
		}
		return form
	}
	page := html.UnescapeString(b.Send(path, 200, with(nil)))
	b.Shows(page, `<dd id="answer-status">418</dd>`, "{\n  \"delay\": 3\n}</pre>", `value="reboot"`, " ms</dd>")
	page = html.UnescapeString(b.Send(path, 200, with(url.Values{"payload": {""}})))
	b.Shows(page, "null</pre>")
	for _, c := range []struct {
		path   string
		more   url.Values
		status int
		says   string
	}{
		{path, url.Values{"payload": {`{"delay": }`}}, 400, "Line 1, column 11:"},
		{path, url.Values{"name": {"a/b"}}, 400, "methodName has the character"},
		{path, url.Values{"responseTimeout": {"soon"}}, 400, `a whole number from 5 to 300, not "soon"`},
		{path, url.Values{"responseTimeout": {"-1"}}, 400, "a whole number from 5 to 300"},
		{path, url.Values{"responseTimeout": {"1"}}, 400, "a whole number from 5 to 300"},
		{path, url.Values{"connectTimeout": {"60000"}}, 400, "a whole number from 0 to 300"},
		{path, url.Values{"connectTimeout": {"6"}}, 400, "are a part of those to wait for the answer"},
		{"hubs/berth/device/away/method", nil, 404, "It is not online"},
	} {
		page := html.UnescapeString(b.Send(c.path, c.status, with(c.more)))
		b.Shows(page, c.says, "</textarea>")
		if strings.Contains(page, "answer-status") {
			t.Errorf("%v has an answer", c.more)
		}
	}
	b.Send("hubs/berth/device/none/method", 404, with(nil))
	status, page := b.Post(path, with(url.Values{"csrf": {"old"}}))
	if status != http.StatusOK {
		t.Errorf("a form of another session is answered %d", status)
	}
	b.Shows(html.UnescapeString(page), `value="reboot"`, "check what you typed and send it again")
	_, page = h.loggedIn(web.Reader).Get(path)
	if b.Shows(page, "Only operators may call methods."); strings.Contains(page, "<textarea") {
		t.Error("a reader is shown the form")
	}
}
