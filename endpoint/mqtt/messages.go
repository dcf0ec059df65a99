package mqtt

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/wire/mqtt"
)

// maxUnacknowledged is how many messages to a device are on their way at once: with the
// largest, half of what may wait for a client to read.
const maxUnacknowledged = 8

// settleTimeout bounds what is still done for a connection that has ended.
const settleTimeout = 10 * time.Second

// messagePump sends a device the messages that are in its queue. A goroutine runs only
// while there is something to do: most devices have no messages, and there are many.
type messagePump struct {
	of *hubSession

	mutex        sync.Mutex
	session      *connection.Session // nil before the device is let in
	running      bool                // a goroutine is at it
	again        bool                // something happened meanwhile
	ended        bool                // the connection has
	acknowledged []string            // lock tokens of what the device has taken, and the hub was not told of yet
	timer        *time.Timer         // wakes when the lock of another is over

	// Of the goroutine that runs.
	outstanding int      // sent, and not acknowledged
	packetIDs   []uint16 // reserved
	received    bool     // there may be something to release
}

// open begins to send: what is in the queue already, once the device has subscribed.
func (p *messagePump) open(session *connection.Session) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.session = session
}

// wake looks whether there is something to send or to settle. Of a device that has not
// subscribed to messages it costs nothing.
func (p *messagePump) wake() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	switch {
	case p.session == nil || p.ended:
	case p.running:
		p.again = true
	case p.qos() == mqtt.Refused && len(p.acknowledged) == 0:
	default:
		p.running = true
		go p.run()
	}
}

// run works until there is nothing to do.
func (p *messagePump) run() {
	defer p.of.conn.Recover()
	for {
		if err := p.round(); err != nil {
			p.of.conn.Close(err)
		}
		p.mutex.Lock()
		if p.ended || !p.again {
			p.running = false
			ended := p.ended
			p.mutex.Unlock()
			if ended {
				p.release()
			}
			return
		}
		p.again = false
		p.mutex.Unlock()
	}
}

// end gives back what the device has not acknowledged. The connection has ended.
func (p *messagePump) end() {
	p.mutex.Lock()
	p.ended = true
	if p.timer != nil {
		p.timer.Stop()
	}
	idle := !p.running
	p.mutex.Unlock()
	if idle {
		p.release()
	}
}

func (p *messagePump) release() {
	if !p.received {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	err := p.complete(ctx)
	if err == nil {
		err = p.session.ReleaseMessages(ctx)
	}
	if err != nil && !errors.Is(err, fault.DeviceNotFound) {
		p.of.backend.Logger.Warn("messages stay under lock", "device", p.of.deviceID, "error", err)
	}
}

// round settles what was acknowledged, and sends what there is room for.
func (p *messagePump) round() error {
	if err := p.complete(p.of.ctx); err != nil {
		return err
	}
	qos := p.qos()
	if qos == mqtt.Refused {
		return nil // the device does not want any now
	}
	for room := maxUnacknowledged - p.outstanding; room > 0; room = maxUnacknowledged - p.outstanding {
		if err := p.reserve(qos, room); err != nil {
			return err
		}
		var ids []uint16
		if qos > 0 {
			ids = append([]uint16{}, p.packetIDs...)
		}
		deliveries, next, err := p.session.ReceiveMessages(p.of.ctx, ids, room)
		switch {
		case errors.Is(err, fault.UnauthorizedAccess), errors.Is(err, fault.DeviceNotFound):
			return nil // the session is over
		case err != nil:
			return err
		case len(deliveries) == 0:
			p.wakeAt(next)
			return nil
		}
		p.received = true
		for _, d := range deliveries {
			if err := p.send(d, qos); err != nil {
				return err
			}
		}
		if err := p.complete(p.of.ctx); err != nil {
			return err
		}
	}
	return nil
}

// topic is that of a message without properties.
func (p *messagePump) topic() string {
	return contract.DeviceboundTopic(p.of.subscriptions.Load().spelling(p.of.deviceID)) + "/"
}

// qos is that with which the device wants messages, mqtt.Refused when it wants none.
func (p *messagePump) qos() byte { return p.of.subscriptions.Load().qos(p.topic()) }

// reserve takes packet ids for so many messages, as far as there are some.
func (p *messagePump) reserve(qos byte, room int) error {
	for qos > 0 && len(p.packetIDs) < room {
		id, err := p.of.conn.Reserve()
		if errors.Is(err, mqtt.ErrTooManyInFlight) {
			return nil
		}
		if err != nil {
			return err
		}
		p.packetIDs = append(p.packetIDs, id)
	}
	return nil
}

// send sends a message. Of QoS 0 there is no acknowledgement: it counts as taken.
func (p *messagePump) send(d c2d.Delivery, qos byte) error {
	topic := p.topic() + string(appendMessageBag(nil, d))
	p.outstanding++
	if qos == 0 {
		err := p.of.conn.Publish(topic, d.Payload, 0, false, nil)
		if err == nil {
			p.acknowledge(d.LockToken)
		}
		return err
	}
	at := slices.Index(p.packetIDs, d.PacketID)
	if at >= 0 {
		p.packetIDs = slices.Delete(p.packetIDs, at, at+1)
	}
	return p.of.conn.Deliver(topic, d.Payload, d.PacketID, at < 0, func(err error) {
		if err == nil {
			p.acknowledge(d.LockToken)
			p.wake()
		}
	})
}

func (p *messagePump) acknowledge(lockToken string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.acknowledged = append(p.acknowledged, lockToken)
}

// complete tells the hub what the device has taken: all at once, in one commit.
func (p *messagePump) complete(ctx context.Context) error {
	p.mutex.Lock()
	taken := p.acknowledged
	p.acknowledged = nil
	p.mutex.Unlock()
	if len(taken) == 0 {
		return nil
	}
	p.outstanding -= len(taken)
	err := p.session.CompleteMessages(ctx, taken...)
	if errors.Is(err, fault.MessageLockLost) || errors.Is(err, fault.DeviceNotFound) {
		return nil // it took too long, and another has the message now; or it is gone
	}
	if err != nil {
		p.outstanding += len(taken)
		p.mutex.Lock()
		defer p.mutex.Unlock()
		p.acknowledged = append(taken, p.acknowledged...)
	}
	return err
}

func (p *messagePump) wakeAt(next time.Time) {
	if next.IsZero() {
		return
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(max(time.Until(next), time.Second), p.wake)
}

// appendMessageBag appends the property bag of a message to a device: its id first, and to
// whom it is, as Azure has them.
func appendMessageBag(b []byte, d c2d.Delivery) []byte {
	if d.MessageID != "" {
		b = appendPair(b, []byte(contract.MessageID.MQTT()), []byte(d.MessageID))
	}
	for _, p := range d.System {
		name := string(p.Name)
		if property, ok := contract.PropertyNamed(name); ok && property.MQTT() != "" {
			b = appendPair(b, []byte(property.MQTT()), p.Value)
		}
	}
	if d.Ack != "" && d.Ack != c2d.AckNone {
		b = appendPair(b, []byte(contract.AckProperty), []byte(d.Ack))
	}
	for _, p := range d.Properties {
		b = appendPair(b, p.Name, p.Value)
	}
	return b
}

func appendPair(b, name, value []byte) []byte {
	if len(b) > 0 {
		b = append(b, '&')
	}
	return appendEscaped(append(appendEscaped(b, name), '='), value)
}

// appendEscaped percent-encodes all that is not a letter, a digit or one of -_.~, the
// characters that nobody reads in two ways.
func appendEscaped(b, text []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_', c == '.', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}
