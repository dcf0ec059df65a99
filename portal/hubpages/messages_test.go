package hubpages

import (
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/berth-iot/berth/hub/c2d"
	hubmessage "github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/portal/web"
)

const messagesPath = "hubs/berth/device/d1/messages"

// recipient is the device d1.
func (h *fixture) recipient() c2d.Recipient {
	h.T.Helper()
	device, err := h.Hub.Device(ctx, "d1")
	h.Must(err)
	return c2d.Recipient{DeviceID: "d1", Generation: device.GenerationID}
}

// TestSendMessage sends what was typed, or says at the form what is wrong with it and keeps
// it.
func TestSendMessage(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	b := h.loggedIn(web.Operator)
	with := func(more url.Values) url.Values {
		form := url.Values{"body": {"typed <body>"}, "ack": {"none"}}
		for name, values := range more {
			form[name] = values
		}
		return form
	}
	for _, c := range []struct {
		more   url.Values
		status int
		says   string
	}{
		{url.Values{"expires": {"0"}}, 400, "a whole number from 1 on, not \"0\""},
		{url.Values{"expires": {"99999999999999999999"}}, 400, "a whole number from 1 on"},
		{url.Values{"expires": {"100000"}}, 403, "It must expire within"},
		{url.Values{"propertyName": {"", ""}, "propertyValue": {"", "lost"}}, 400, `value "lost" has no name`},
		{url.Values{"propertyName": {"a", "a"}, "propertyValue": {"1", "2"}}, 400, `"a" is there twice`},
		{url.Values{"ack": {"maybe"}}, 400, `not "maybe"`},
		{url.Values{"contentType": {strings.Repeat("x", c2d.MaxMessage)}}, 413, "the limit is 65536"},
	} {
		page := html.UnescapeString(b.Send(messagesPath, c.status, with(c.more)))
		b.Shows(page, c.says, "typed <body></textarea>")
	}
	status, page := b.Post(messagesPath, with(url.Values{"csrf": {"old"}}))
	if status != http.StatusOK {
		t.Errorf("a form of another session is answered %d", status)
	}
	b.Shows(html.UnescapeString(page), "typed <body></textarea>", "check what you typed and send it again")
	for _, path := range []string{"hubs/none/device/d1/messages", "hubs/berth/device/none/messages"} {
		b.Send(path, 404, with(nil))
	}
	if _, total, err := h.Hub.Messages().Peek(ctx, h.recipient(), 10); total != 0 || err != nil {
		t.Fatalf("%d messages are in the queue, error %v", total, err)
	}

	page = b.Send(messagesPath, 200, with(url.Values{"body": {"line 1\r\nline 2 "}, "contentType": {"text/plain"},
		"messageId": {"m <1>"}, "ack": {"full"}, "expires": {"5"},
		"propertyName": {"level", "", "unit"}, "propertyValue": {"high", "", ""}}))
	b.Shows(html.UnescapeString(page), "is in the queue, and waits to be received", "m <1>", "level=high", "unit=",
		"content-type=text/plain", "iothub-ack=full", "line 1\nline 2 </pre>")
	waiting, _, err := h.Hub.Messages().Peek(ctx, h.recipient(), 10)
	h.Must(err)
	if len(waiting) != 1 || string(waiting[0].Payload) != "line 1\nline 2 " || waiting[0].MessageID != "m <1>" ||
		waiting[0].Ack != c2d.AckFull || len(waiting[0].Properties) != 2 ||
		!waiting[0].Expires.Equal(h.Now().Add(5*time.Minute)) {
		t.Errorf("the queue has %+v", waiting)
	}
	// A message without an id gets one.
	b.Send(messagesPath, 200, with(nil))
	if waiting, _, err = h.Hub.Messages().Peek(ctx, h.recipient(), 10); err != nil || len(waiting) != 2 ||
		waiting[1].MessageID == "" {
		t.Errorf("the queue has %+v, error %v", waiting, err)
	}
	_, page = h.loggedIn(web.Reader).Get(messagesPath)
	if b.Shows(page, "level=high"); strings.Contains(page, "<textarea") || strings.Contains(page, "Purge") {
		t.Error("a reader is shown forms")
	}
}

// TestFateOfMessage: a page that is open says what becomes of the message that was sent
// from it, while its receiver settles it, and takes no feedback from back ends.
func TestFateOfMessage(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	receipt, err := h.Hub.SendMessage(ctx, "d1", c2d.Outgoing{MessageID: "m1", Ack: c2d.AckFull,
		Message: hubmessage.Message{Payload: []byte("hello")}})
	h.Must(err)
	b := h.loggedIn(web.Operator)
	path := messagesPath + "?sent=" + strconv.FormatInt(receipt.Sequence, 10)
	_, page := b.Get(path)
	b.Shows(page, "waits to be received", "state-waiting")
	tab := b.Open(path)
	got, _, err := h.Hub.Messages().Receive(ctx, h.recipient(), c2d.Receiver{}, 1)
	h.Must(err)
	h.Later(time.Second)
	b.Shows(tab.Next(), "Message "+strconv.FormatInt(receipt.Sequence, 10)+" was received", "state-locked")
	// The time of the lock is over, and nothing else happens.
	h.Later(2 * time.Minute)
	b.Shows(tab.Next(), "waits to be received", "state-waiting")
	h.Must(h.Hub.Messages().Complete(ctx, h.recipient(), got[0].LockToken))
	h.Later(time.Second)
	b.Shows(tab.Next(), "What became of message "+strconv.FormatInt(receipt.Sequence, 10), "state-Success", "m1",
		"The queue is empty")
	feedback, err := h.Hub.Messages().ReceiveFeedback(ctx)
	if err != nil || len(feedback.Records) != 1 || feedback.Records[0].MessageID != "m1" {
		t.Errorf("the feedback is %+v, error %v", feedback, err)
	}
	_, page = b.Get(messagesPath + "?sent=1")
	b.Shows(page, "Message 1 has left the queue")
	_, page = b.Get(messagesPath + "?sent=x")
	if strings.Contains(page, "has left the queue") {
		t.Error("something is said of a message that was not asked for")
	}
}

// TestPurge asks first, and then empties the queue.
func TestPurge(t *testing.T) {
	h := newFixture(t)
	h.AddDevice("d1")
	b := h.loggedIn(web.Operator)
	for range maxQueue {
		b.Send(messagesPath, 200, url.Values{"body": {"x"}, "ack": {"none"}})
	}
	page := b.Send(messagesPath, 403, url.Values{"body": {"one too many"}, "ack": {"none"}})
	b.Shows(page, "is full: it holds 50 messages", "one too many</textarea>")
	page = b.Send(messagesPath+"/purge", 200, url.Values{"id": {"d1"}})
	b.Shows(page, "Purge 1 queue?", `<li class="id">d1</li>`)
	if _, total, err := h.Hub.Messages().Peek(ctx, h.recipient(), 1); total != maxQueue || err != nil {
		t.Fatalf("before it is confirmed there are %d messages, error %v", total, err)
	}
	page = b.Send(messagesPath+"/purge", 200, url.Values{"id": {"d1"}, "confirm": {"yes"}})
	b.Shows(page, "1 queue is empty now", "The queue is empty", "state-Purged")
}

// TestExcerpt is text where it can be, and never half a character.
func TestExcerpt(t *testing.T) {
	for _, c := range []struct {
		body, text string
		cut        bool
	}{
		{"", "", false},
		{"text", "text", false},
		{"\xff\x00", "/wA=", false},
		{strings.Repeat("a", maxExcerpt), strings.Repeat("a", maxExcerpt), false},
		{"a" + strings.Repeat("é", maxExcerpt), "a" + strings.Repeat("é", (maxExcerpt-1)/2), true},
		{strings.Repeat("\xff", maxExcerpt+1), strings.Repeat("/", maxExcerpt/3*4) + "/w==", true},
	} {
		text, cut := excerpt([]byte(c.body))
		if text != c.text || cut != c.cut || !utf8.ValidString(text) {
			t.Errorf("of %.10q the page shows %q, cut: %v", c.body, text, cut)
		}
	}
}
