package hubpages

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/c2d"
	hubmessage "github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/portal/web"
)

// messagesPage is the queue of a device or module, and what became of the messages that have left it.
type messagesPage struct {
	subject
	Form  messageForm
	Acks  any
	Queue []waitingMessage
	More  int // that wait beside those
	Past  []c2d.Past
	Sent  *sentMessage // the one that was just sent from the page, nil for none

	locked bool // one of the messages
}

// Fades implements fading: a lock is over without anybody doing anything.
func (p messagesPage) Fades() bool { return p.locked }

// waitingMessage is a message in the queue as the page lists it.
type waitingMessage struct {
	c2d.Queued
	Text string // the body, at most maxExcerpt of it
	Cut  bool
}

// Options are the system properties that say something: whose queue it is, the page says.
func (m waitingMessage) Options() (options []formProperty) {
	for _, property := range m.System {
		if name := string(property.Name); name != contract.To.String() {
			options = append(options, formProperty{name, string(property.Value)})
		}
	}
	if m.Ack != "" && m.Ack != c2d.AckNone {
		options = append(options, formProperty{contract.AckProperty, string(m.Ack)})
	}
	return options
}

// sentMessage is a message whose sender wants to see what becomes of it. With neither
// Waiting nor Past it has left the queue, and more than the history keeps have after it.
type sentMessage struct {
	Sequence int64
	Waiting  *c2d.Queued
	Past     *c2d.Past
	Behind   bool // it waits behind those that are listed
}

const (
	maxExcerpt = 256 // of a message's body that the list shows, in bytes
	maxQueue   = 50  // messages that the list shows, all that a queue holds unless it is configured
)

func (p *Pages) showMessages(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	return c.Show("messages", nil, func() (any, error) { return p.loadMessages(c, h, of, newMessageForm()) })
}

func (p *Pages) loadMessages(
	c *web.Call, h *hub.Hub, of subject, form messageForm,
) (page messagesPage, err error) {
	ctx := c.Context()
	page = messagesPage{subject: of, Form: form, Acks: acks}
	recipient, err := h.Registry().Principal(ctx, of.ID())
	if err != nil {
		return page, err
	}
	to := c2d.Recipient{DeviceID: of.ID(), Generation: recipient.GenerationID}
	waiting, total, err := h.Messages().Peek(ctx, to, maxQueue)
	if err != nil {
		return page, err
	}
	page.More = total - len(waiting)
	for _, w := range waiting {
		text, cut := excerpt(w.Payload)
		page.Queue = append(page.Queue, waitingMessage{w, text, cut})
		page.locked = page.locked || !w.LockedUntil.IsZero()
	}
	if page.Past, err = h.Messages().History(ctx, to); err != nil {
		return page, err
	}
	if sequence := c.QueryNumber("sent"); sequence > 0 {
		page.Sent = page.find(sequence)
	}
	return page, nil
}

// find looks for a message in the queue and in the history.
func (p *messagesPage) find(sequence int64) *sentMessage {
	sent := &sentMessage{Sequence: sequence}
	if i := slices.IndexFunc(p.Past, func(m c2d.Past) bool { return m.Sequence == sequence }); i >= 0 {
		sent.Past = &p.Past[i]
	}
	if i := slices.IndexFunc(p.Queue, func(m waitingMessage) bool { return m.Sequence == sequence }); i >= 0 {
		sent.Waiting = &p.Queue[i].Queued
	}
	sent.Behind = p.More > 0 && sequence > p.Queue[len(p.Queue)-1].Sequence
	return sent
}

// excerpt is the beginning of a body as a page shows it: as text, else in base64.
func excerpt(body []byte) (text string, cut bool) {
	if !utf8.Valid(body) {
		body, cut = body[:min(len(body), maxExcerpt)], len(body) > maxExcerpt
		return base64.StdEncoding.EncodeToString(body), cut
	}
	if len(body) > maxExcerpt {
		return strings.ToValidUTF8(string(body[:maxExcerpt]), ""), true
	}
	return string(body), false
}

// messageForm is the form that sends a message to a device.
type messageForm struct {
	Body, ContentType, MessageID, Expires string
	Ack                                   c2d.Ack
	Properties                            []formProperty
	Problem                               *fault.Error
}

// formProperty is a property as it was typed.
type formProperty struct{ Name, Value string }

// acks are the choices of what back ends hear of a message.
var acks = []struct {
	Value c2d.Ack
	Text  string
}{
	{c2d.AckNone, "None"},
	{c2d.AckPositive, "When the device takes it"},
	{c2d.AckNegative, "When it does not get it"},
	{c2d.AckFull, "Either way"},
}

func newMessageForm() messageForm { return messageForm{Ack: c2d.AckNone} }

// HasOptions reports whether something was typed that the form shows when it is asked to.
func (f messageForm) HasOptions() bool {
	return f.ContentType+f.MessageID+f.Expires != "" || f.Ack != c2d.AckNone || len(f.Properties) > 0
}

// Rows are the properties, with an empty one to type in.
func (f messageForm) Rows() []formProperty { return append(slices.Clone(f.Properties), formProperty{}) }

func readMessageForm(c *web.Call) messageForm {
	form := messageForm{
		Body:        strings.ReplaceAll(c.Value("body"), "\r\n", "\n"),
		ContentType: c.Text("contentType"),
		MessageID:   c.Text("messageId"),
		Expires:     c.Text("expires"),
		Ack:         c2d.Ack(c.Value("ack")),
	}
	names, values := c.Form()["propertyName"], c.Form()["propertyValue"]
	for i := range min(len(names), len(values)) {
		if names[i]+values[i] != "" {
			form.Properties = append(form.Properties, formProperty{names[i], values[i]})
		}
	}
	return form
}

// outgoing is the message that was typed. One without an id gets one, so that people can
// speak of it.
func (f messageForm) outgoing(now time.Time) (c2d.Outgoing, error) {
	out := c2d.Outgoing{MessageID: f.MessageID, Ack: f.Ack}
	out.Payload = []byte(f.Body)
	if out.MessageID == "" {
		out.MessageID = fault.NewTrackingID()
	}
	if f.ContentType != "" {
		out.System = []hubmessage.Property{{Name: contract.ContentType.Bytes(), Value: []byte(f.ContentType)}}
	}
	named := make(map[string]bool)
	for _, property := range f.Properties {
		switch {
		case property.Name == "":
			return out, fault.New(fault.ArgumentInvalid, "The property with the value %.64q has no name", property.Value)
		case named[property.Name]:
			return out, fault.New(fault.ArgumentInvalid, "The property %.64q is there twice", property.Name)
		}
		named[property.Name] = true
		out.Properties = append(out.Properties,
			hubmessage.Property{Name: []byte(property.Name), Value: []byte(property.Value)})
	}
	if f.Expires != "" {
		minutes, err := strconv.Atoi(f.Expires)
		if err != nil || minutes < 1 || minutes > maxMinutes {
			return out, fault.New(fault.ArgumentInvalid,
				"The minutes until the message expires must be a whole number from 1 on, not %.32q", f.Expires)
		}
		out.Expires = now.Add(time.Duration(minutes) * time.Minute)
	}
	return out, nil
}

// maxMinutes is more than any hub allows, and less than what a time can be.
const maxMinutes = 1e6

func (p *Pages) restoreMessage(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	page, err := p.loadMessages(c, h, of, readMessageForm(c))
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "messages", page)
}

// sendMessage puts a message into the queue, and goes to the page that shows
// what becomes of it.
func (p *Pages) sendMessage(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	form := readMessageForm(c)
	out, err := form.outgoing(c.Now())
	if err == nil {
		var receipt c2d.Receipt
		if receipt, err = h.SendMessage(c.Context(), of.ID(), out); err == nil {
			return c.Redirect(of.Path() + "/messages?sent=" + strconv.FormatInt(receipt.Sequence, 10) + "#live")
		}
	}
	if form.Problem = fault.From(err); form.Problem.Code.Status() >= 500 {
		return err
	}
	page, err := p.loadMessages(c, h, of, form)
	if err != nil {
		return err
	}
	return c.Render(form.Problem.Code.Status(), "messages", page)
}

// purge empties the queue of a device.
func (p *Pages) purge(c *web.Call) (web.Deletion, error) {
	h, of, err := p.subject(c)
	if err != nil {
		return web.Deletion{}, err
	}
	path := of.Path() + "/messages"
	return web.Deletion{
		Back: path, Path: path + "/purge", Button: "Purge",
		Title: "Purge %d queue?|Purge %d queues?",
		Explain: "All messages in the queue are removed, those that the device has received and not acknowledged " +
			"included. Senders who want to hear of it do.",
		Done:   "%d queue is empty now|%d queues are empty now",
		Gone:   fault.DeviceNotFound,
		Delete: func(ctx context.Context, _ string) error { _, err := h.PurgeMessages(ctx, of.ID()); return err },
	}, nil
}
