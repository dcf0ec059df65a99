package mqtt

import "net"

// A session that outlives its connection owes its client every message of QoS 1 that
// was sent and not acknowledged, with the packet id that it had [MQTT-4.4.0-1]. Who
// keeps such a session reserves a packet id, writes message and id down, and delivers
// it; when the client is back, it delivers it again.

// takePacketID takes a packet id that is free. The mutex is held.
func (c *Conn) takePacketID(done func(error)) uint16 {
	if c.inFlight == nil {
		c.inFlight = make(map[uint16]func(error))
	}
	for taken := true; taken; _, taken = c.inFlight[c.nextID] {
		if c.nextID++; c.nextID == 0 {
			c.nextID = 1
		}
	}
	c.inFlight[c.nextID] = done
	return c.nextID
}

// Reserve takes a packet id for a message that Deliver sends later. It fails as
// Publish does.
func (c *Conn) Reserve() (packetID uint16, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch {
	case c.closing:
		return 0, net.ErrClosed
	case len(c.inFlight) >= c.server.MaxInFlight:
		return 0, ErrTooManyInFlight
	}
	return c.takePacketID(nil), nil
}

// Hold keeps packet ids from others: those of messages that the client has had on an
// earlier connection of its session, and that will be delivered again.
func (c *Conn) Hold(packetIDs ...uint16) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.inFlight == nil {
		c.inFlight = make(map[uint16]func(error), len(packetIDs))
	}
	for _, id := range packetIDs {
		c.inFlight[id] = nil
	}
}

// Deliver sends a message of QoS 1 with a packet id of Reserve, or once more, with the
// id that it had on an earlier connection of the session, and then with DUP
// [MQTT-3.3.1-1]. done is called as by Publish. It does not wait; it fails as Publish
// does, and then done is not called.
func (c *Conn) Deliver(topic string, payload []byte, packetID uint16, again bool, done func(error)) error {
	if err := checkPublish(topic, payload); err != nil {
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch {
	case c.closing:
		return net.ErrClosed
	case len(c.out)+len(topic)+len(payload) > c.server.MaxOutbound:
		return ErrSlowReader
	}
	if c.inFlight == nil {
		c.inFlight = make(map[uint16]func(error))
	}
	c.inFlight[packetID] = done
	c.queuePublish(topic, payload, 1, false, again, packetID)
	return nil
}
