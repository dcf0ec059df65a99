package hubpages

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/portal/web"
)

// devicePage is one device of a hub.
type devicePage struct {
	subject
	keysView
	Device      identity.Device
	Connections []connection.Event
	Telemetry   []message
}

// telemetryShown is how many messages a device's page begins with.
const telemetryShown = 20

func (p *Pages) showDevice(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	return c.Show("device", trafficRevision(h), func() (any, error) { return p.loadDevice(c, h, of) })
}

func (p *Pages) loadDevice(c *web.Call, h *hub.Hub, of subject) (page devicePage, err error) {
	ctx, id := c.Context(), of.DeviceID
	page.subject = of
	if page.Device, err = h.Device(ctx, id); err != nil {
		return page, err
	}
	if page.Connections, err = h.Connections().History(ctx, id); err != nil {
		return page, err
	}
	page.keysView, page.Device.Authentication = showKeys(c, h.Host(), of, page.Device.Authentication)
	if c.Request.URL.Query().Has("live") {
		return page, nil // telemetry comes by its own stream
	}
	recent, err := h.Telemetry().Recent(ctx, id, telemetryShown)
	slices.Reverse(recent)
	for _, received := range recent {
		page.Telemetry = append(page.Telemetry, messageOf(received))
	}
	return page, err
}

// message is a telemetry message as the page lists it.
type message struct {
	telemetry.Message
	Text string // the body, at most maxShown of it
	Cut  bool
}

// maxShown is how much of a message's body a page shows, in bytes.
const maxShown = 4 << 10

func messageOf(received telemetry.Message) message {
	m := message{Message: received}
	if received.Unreadable != "" {
		m.Text = received.Unreadable
		return m
	}
	switch body := received.Body.(type) {
	case nil:
		m.Text = base64.StdEncoding.EncodeToString(received.BodyBase64)
	case string:
		m.Text = body
	case json.RawMessage:
		m.Text = string(body)
	default:
		m.Text = fmt.Sprint(body)
	}
	if len(m.Text) > maxShown {
		m.Text, m.Cut = strings.ToValidUTF8(m.Text[:maxShown], ""), true
	}
	return m
}

// Position is where a stream goes on after this message.
func (m message) Position() string {
	return fmt.Sprintf("%d/%d", m.EnqueuedTime.UnixNano(), m.SequenceNumber)
}

// parsePosition reads what Position has written, and the sequence number of its message;
// "" is where there is none.
func parsePosition(text string) (from telemetry.Position, after int64, err error) {
	if text == "" {
		return from, 0, nil
	}
	moment, number, _ := strings.Cut(text, "/")
	nanoseconds, wrongMoment := strconv.ParseInt(moment, 10, 64)
	after, wrongNumber := strconv.ParseInt(number, 10, 64)
	if wrongMoment != nil || wrongNumber != nil {
		return from, 0, fault.New(fault.ArgumentInvalid, "There is no message at %.64q", text)
	}
	return telemetry.Position{Time: time.Unix(0, nanoseconds)}, after, nil
}

// burst is how many messages a page is sent each second: more can't be read.
const burst = 50

// streamTelemetry sends a device's messages as they come, from a position on. Of
// a device that sends faster than anybody reads it sends a part, and says how
// many it left out.
func (p *Pages) streamTelemetry(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.Context())
	id := c.PathValue("id")
	if _, err := h.Device(ctx, id); err != nil {
		cancel()
		return err
	}
	from, after, err := parsePosition(c.Query("from"))
	if err != nil {
		cancel()
		return err
	}
	received := make(chan telemetry.Message, burst)
	var skipped atomic.Int64
	var failed error
	receive := func(m telemetry.Message) error {
		if !from.Time.IsZero() && m.EnqueuedTime.Equal(from.Time) && m.SequenceNumber <= after {
			return nil
		}
		select {
		case received <- m:
		default:
			skipped.Add(1)
		}
		return nil
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failed = c.Panics().Do(panics.Portal, func() error { return h.Telemetry().Follow(ctx, from, id, receive) })
	}()
	defer func() { cancel(); <-ended }()
	return c.Events(func(send func(event string, text []byte) error) error {
		for range burst {
			select {
			case m := <-received:
				text, err := c.Part("device", "message", messageOf(m))
				if err == nil {
					err = send("message", text)
				}
				if err != nil {
					return err
				}
			case <-ended:
				return failed
			default:
				return nil
			}
		}
		if n := skipped.Swap(0); n > 0 {
			return send("skipped", strconv.AppendInt(nil, n, 10))
		}
		return nil
	})
}
