package mqtt

import (
	"errors"
	"net"
	"time"
)

// Everything a client is sent is appended to out and written by whoever finds
// no writer at work: the connection's own goroutine after it has handled what it
// read, or else a goroutine that lives until out is empty. So answers that
// arise together leave together, and nobody waits for a slow client but its own
// connection, which reads no further requests while their answers are not read.

// Acknowledge says that the QoS 1 message with this packet id is the server's
// now. Its PUBACK leaves when all earlier messages are acknowledged
// [MQTT-4.6.0-2]. It allocates nothing and does not wait.
func (c *Conn) Acknowledge(packetID uint16) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	released := c.acks.settle(packetID)
	if released == 0 || c.closing && !errors.Is(c.reason, ErrShutdown) {
		return
	}
	if c.out == nil {
		c.out = getBuffer()[:0]
	}
	for range released {
		c.out = appendPuback(c.out, c.acks.pop())
	}
	c.server.stats.packetsOut.Add(uint64(released))
	c.room.Signal()
	c.startWriter()
}

// awaitRoom notes a message that will be acknowledged. While too many are not,
// it waits, and with it the client; others write what the client is sent
// meanwhile.
func (c *Conn) awaitRoom(packetID uint16) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for c.acks.len() >= c.server.MaxInFlight && !c.closing {
		c.awaitOthers()
	}
	if c.closing {
		return c.closeReason()
	}
	c.acks.push(packetID)
	return nil
}

// awaitOthers waits, for who is the writer, for something to change, and lets others
// write meanwhile. The mutex is held.
func (c *Conn) awaitOthers() {
	c.writing = false
	c.startWriter()
	c.room.Wait()
	c.takeOutput()
}

// Respond publishes the answer to what the session is handling; only the session's
// methods may call it, before they return. While much waits for the client to read
// it, Respond waits too, and with it the client's further requests: only who reads
// nothing within WriteTimeout is cut off. Of QoS 1, with half of MaxInFlight
// unacknowledged, the answer goes with QoS 0, because the acknowledgements may wait
// behind further requests. The payload is copied.
func (c *Conn) Respond(topic string, payload []byte, qos byte) error {
	if err := checkPublish(topic, payload); err != nil {
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err := c.awaitOutbound(); err != nil {
		return err
	}
	c.respond(topic, payload, qos)
	return nil
}

// awaitOutbound waits, for who is the writer, until no more answers wait for the client
// to read them than may. The mutex is held.
func (c *Conn) awaitOutbound() error {
	for len(c.out) > c.maxAnswers() && !c.closing {
		c.writePart()
	}
	if c.closing {
		return c.closeReason()
	}
	return nil
}

// maxAnswers bounds the answers that wait for the client, in bytes: to half of
// MaxOutbound, as the other half is for what others publish, who can't wait. Before it
// has proved anything it has to read sooner.
func (c *Conn) maxAnswers() int {
	if limit := c.server.MaxOutbound / 2; c.peer.Proven == nil || c.proven.Load() {
		return limit
	}
	return min(c.server.MaxOutbound/2, maxUnproven)
}

// maxUnproven is how many bytes of answers may wait for a client that has proved nothing.
const maxUnproven = 16 << 10

// respond adds an answer to what the client is sent. The mutex is held.
func (c *Conn) respond(topic string, payload []byte, qos byte) {
	if len(c.inFlight) >= c.server.MaxInFlight/2 {
		qos = 0
	}
	c.publish(topic, payload, qos, false, nil)
}

// writePart writes what has gathered so far, for who is the writer. The mutex is
// held, but not meanwhile.
func (c *Conn) writePart() {
	b := c.out
	c.out = nil
	c.mutex.Unlock()
	defer c.mutex.Lock()
	c.send(b)
}

// Publish sends a message with QoS 0 or 1 and never waits. With QoS 1, done (which
// may be nil) is called with nil at PUBACK, or with an error when the connection
// ends before. The payload is copied. With an error (net.ErrClosed; ErrSlowReader
// and ErrTooManyInFlight, after which the caller does well to close) nothing is sent
// and done is not called.
func (c *Conn) Publish(topic string, payload []byte, qos byte, retain bool, done func(error)) error {
	if err := checkPublish(topic, payload); err != nil {
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closing {
		return net.ErrClosed
	}
	if len(c.out)+len(topic)+len(payload) > c.server.MaxOutbound {
		return ErrSlowReader
	}
	if qos > 0 && len(c.inFlight) >= c.server.MaxInFlight {
		return ErrTooManyInFlight
	}
	c.publish(topic, payload, qos, retain, done)
	return nil
}

// publish adds a message to what the client is sent. The mutex is held.
func (c *Conn) publish(topic string, payload []byte, qos byte, retain bool, done func(error)) {
	var id uint16
	if qos > 0 {
		id = c.takePacketID(done)
	}
	c.queuePublish(topic, payload, qos, retain, false, id)
}

// queuePublish adds a PUBLISH with its packet id to what the client is sent. The mutex is held.
func (c *Conn) queuePublish(topic string, payload []byte, qos byte, retain, again bool, packetID uint16) {
	if c.out == nil {
		c.out = getBuffer()[:0]
	}
	c.out = appendPublish(c.out, topic, payload, qos, retain, again, packetID)
	c.server.stats.packetsOut.Add(1)
	c.startWriter()
}

// settle ends a message that the client acknowledged. An id that is not in
// flight is no error: it may be of an earlier connection.
func (c *Conn) settle(packetID uint16) {
	c.mutex.Lock()
	done := c.inFlight[packetID]
	delete(c.inFlight, packetID)
	c.mutex.Unlock()
	if done != nil {
		done(nil)
	}
}

// append adds a packet that answers the one being handled.
func (c *Conn) append(encode func([]byte) []byte) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.out == nil {
		c.out = getBuffer()[:0]
	}
	c.out = encode(c.out)
	c.server.stats.packetsOut.Add(1)
	c.startWriter()
}

// holdOutput makes the connection's goroutine the writer of all that arises
// while it handles packets, until releaseOutput. It fails when the connection is
// closing.
func (c *Conn) holdOutput() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.takeOutput()
	if c.closing {
		c.writing = false
		return c.closeReason()
	}
	return nil
}

// takeOutput waits for the present writer, whose time is limited, and takes its
// place. The mutex is held.
func (c *Conn) takeOutput() {
	for c.writing {
		c.room.Wait()
	}
	c.writing = true
}

// releaseOutput writes what has gathered.
func (c *Conn) releaseOutput() { c.write() }

// startWriter makes sure that somebody writes out. The mutex is held.
func (c *Conn) startWriter() {
	if c.writing || !c.connected || len(c.out) == 0 {
		return
	}
	c.writing = true
	c.server.active.Add(1) // the connection's goroutine is counted and outlives this one
	go c.writer()
}

// write writes out until it is empty.
func (c *Conn) write() {
	finished := false
	defer func() {
		if !finished { // a panic: whoever waits for the writer must not wait for ever
			c.stopWriting()
		}
	}()
	for b := c.takeOut(); b != nil; b = c.takeOut() {
		c.send(b)
	}
	finished = true
}

// takeOut takes what has gathered. With nothing left, nil, the writing is over.
func (c *Conn) takeOut() []byte {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	b := c.out
	if c.out = nil; len(b) > 0 {
		return b
	}
	putBuffer(b)
	c.writing = false
	c.room.Broadcast()
	return nil
}

func (c *Conn) stopWriting() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.writing = false
	c.room.Broadcast()
}

// maxWrite is how much a client must read within WriteTimeout so that it does not
// count as one that does not read; a TLS record holds as much.
const maxWrite = 16 << 10

// send writes b, which then goes to the pool. Once something could not be written,
// nothing is any more: it would begin in the middle of a packet.
func (c *Conn) send(b []byte) {
	for rest := b; len(rest) > 0 && !c.broken; {
		c.mutex.Lock()
		deadline := c.writeDeadline()
		err := c.net.SetWriteDeadline(deadline) // under the mutex, so that Close has the last word
		c.mutex.Unlock()
		n := 0
		if err == nil {
			n, err = c.net.Write(rest[:min(len(rest), maxWrite)])
		}
		c.server.stats.bytesOut.Add(uint64(n))
		rest = rest[n:]
		if err != nil {
			c.broken = true
			if !time.Now().Before(deadline) {
				err = ErrSlowReader
			}
			c.Close(err)
		}
	}
	putBuffer(b)
}

// ackRing holds the packet ids of messages that are not acknowledged, in the
// order in which they came.
type ackRing struct {
	slots      []ackSlot
	head, size int
}

type ackSlot struct {
	id      uint16
	settled bool
}

func (r *ackRing) len() int { return r.size }

func (r *ackRing) at(i int) *ackSlot { return &r.slots[(r.head+i)&(len(r.slots)-1)] }

func (r *ackRing) push(id uint16) {
	if r.size == len(r.slots) {
		larger := make([]ackSlot, max(8, 2*r.size)) // a power of two, so that at needs no division
		for i := range r.size {
			larger[i] = *r.at(i)
		}
		r.slots, r.head = larger, 0
	}
	r.size++
	*r.at(r.size - 1) = ackSlot{id: id}
}

// settle marks the oldest open message with this id and returns how many at the
// front are settled now.
func (r *ackRing) settle(id uint16) (released int) {
	for i := range r.size {
		if slot := r.at(i); slot.id == id && !slot.settled {
			slot.settled = true
			break
		}
	}
	for released < r.size && r.at(released).settled {
		released++
	}
	return released
}

func (r *ackRing) pop() uint16 {
	id := r.slots[r.head].id
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.size--
	return id
}
