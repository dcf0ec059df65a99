package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Client is the client's side of a connection, as a simulator, a test or a load
// generator needs it: it sends, it receives, it does not reconnect.
type Client struct {
	net         net.Conn
	receive     func(topic string, payload []byte)
	readTimeout time.Duration // for the server's silence; 0 for ever
	ended       chan struct{}
	pinging     sync.WaitGroup

	mutex     sync.Mutex
	err       error // why it ended, once ended is closed
	closing   bool
	out       []byte
	writing   bool
	broken    bool // the network takes no more
	nextID    uint16
	inFlight  map[uint16]func(error)
	subscribe map[uint16]chan []byte
}

// RefusedError is a CONNACK that says no.
type RefusedError struct{ Code ConnectCode }

func (e *RefusedError) Error() string {
	reasons := []string{"accepted", "unacceptable protocol version", "identifier rejected", "server unavailable",
		"bad user name or password", "not authorized"}
	if int(e.Code) < len(reasons) {
		return fmt.Sprintf("connection refused: %s (%d)", reasons[e.Code], e.Code)
	}
	return fmt.Sprintf("connection refused (%d)", e.Code)
}

// NewClient sends CONNECT on an open connection and waits for CONNACK. It returns
// a *RefusedError when the server refuses. receive gets every message that the
// server publishes, one after the other, and may publish but not wait for an
// answer.
//
// present is what CONNACK says: the server has a session of this client from before.
func NewClient(ctx context.Context, conn net.Conn, connect *Connect,
	receive func(topic string, payload []byte)) (client *Client, present bool, err error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(longAgo) })
	var answer [4]byte
	if _, err = conn.Write(appendConnect(nil, connect)); err == nil {
		_, err = io.ReadFull(conn, answer[:])
	}
	if !stop() {
		conn.Close()
		return nil, false, context.Cause(ctx)
	}
	switch {
	case err != nil:
		err = fmt.Errorf("connect: %w", err)
	case answer[0] != typeConnack<<4 || answer[1] != 2:
		err = fmt.Errorf("%w: % x instead of CONNACK", ErrProtocol, answer)
	case answer[3] != 0:
		err = &RefusedError{ConnectCode(answer[3])}
	}
	if err != nil {
		conn.Close()
		return nil, false, err
	}
	keepAlive := time.Duration(connect.KeepAlive) * time.Second
	client = &Client{net: conn, receive: receive, readTimeout: keepAlive * 3 / 2, ended: make(chan struct{}),
		inFlight: make(map[uint16]func(error)), subscribe: make(map[uint16]chan []byte)}
	if keepAlive > 0 {
		client.pinging.Go(func() { client.ping(keepAlive / 2) })
	}
	go client.read()
	return client, answer[2] == 1, nil
}

// Publish sends a message with QoS 0 or 1. With QoS 1, done (which may be nil)
// is called at PUBACK, or with an error when the connection ends before; it may
// publish but not wait for an answer. When Publish returns an error, done is not
// called: ErrTooManyInFlight says that every packet id is in use.
func (c *Client) Publish(topic string, payload []byte, qos byte, done func(error)) error {
	if err := checkPublish(topic, payload); err != nil {
		return err
	}
	return c.write(func(b []byte) ([]byte, error) {
		var id uint16
		if qos > 0 {
			if id = c.newID(); id == 0 {
				return b, ErrTooManyInFlight
			}
			c.inFlight[id] = done
		}
		return appendPublish(b, topic, payload, qos, false, false, id), nil
	})
}

// Subscribe subscribes and waits for the answer: a granted QoS, or Refused, for
// each.
func (c *Client) Subscribe(ctx context.Context, subscriptions ...Subscription) ([]byte, error) {
	return c.ask(ctx, func(b []byte, id uint16) []byte { return appendSubscribe(b, id, subscriptions) })
}

func (c *Client) ask(ctx context.Context, encode func(b []byte, id uint16) []byte) ([]byte, error) {
	answer := make(chan []byte, 1)
	if err := c.write(func(b []byte) ([]byte, error) {
		id := c.newID()
		if id == 0 {
			return b, ErrTooManyInFlight
		}
		c.subscribe[id] = answer
		return encode(b, id), nil
	}); err != nil {
		return nil, err
	}
	select {
	case codes := <-answer:
		return codes, nil
	case <-c.ended:
		return nil, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Ended is closed when the connection has ended; Err then says why.
func (c *Client) Ended() <-chan struct{} { return c.ended }

// Err returns why the connection ended: net.ErrClosed after Disconnect.
func (c *Client) Err() error {
	<-c.ended
	return c.err
}

// Disconnect sends DISCONNECT, closes the connection and waits for its end.
func (c *Client) Disconnect() error {
	err := c.writePacket(typeDisconnect)
	c.Abort()
	return err
}

// Abort closes the connection without DISCONNECT and waits for its end.
func (c *Client) Abort() {
	c.mutex.Lock()
	c.closing = true
	c.mutex.Unlock()
	c.net.Close()
	<-c.ended
	c.pinging.Wait()
}

// write appends a packet and writes what has gathered, unless another goroutine
// is doing so. An error means that the packet was not appended; a network that
// fails ends the connection, and that is where it shows.
func (c *Client) write(encode func([]byte) ([]byte, error)) (err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closing || c.err != nil {
		return net.ErrClosed
	}
	if c.out, err = encode(c.out); err != nil || c.writing {
		return err
	}
	c.writing = true
	defer func() { c.writing = false }()
	for len(c.out) > 0 && !c.broken {
		b := c.out
		c.out = nil
		c.mutex.Unlock()
		_, err := c.net.Write(b)
		c.mutex.Lock()
		if err != nil {
			c.broken = true
			c.net.Close() // wakes the reader
		}
		if c.out == nil {
			c.out = b[:0]
		}
	}
	return nil
}

// writePacket writes a packet that is nothing but its type.
func (c *Client) writePacket(kind byte) error {
	return c.write(func(b []byte) ([]byte, error) { return append(b, kind<<4, 0), nil })
}

// newID returns a packet id that is not in use, or 0 when all are. The mutex is
// held.
func (c *Client) newID() uint16 {
	if len(c.inFlight)+len(c.subscribe) >= 0xffff {
		return 0
	}
	for {
		if c.nextID++; c.nextID == 0 {
			continue
		}
		if _, taken := c.inFlight[c.nextID]; taken {
			continue
		}
		if _, taken := c.subscribe[c.nextID]; !taken {
			return c.nextID
		}
	}
}

func (c *Client) ping(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-c.ended:
			return
		case <-ticker.C:
			c.writePacket(typePingreq) // a failure ends the reading side too
		}
	}
}

func (c *Client) read() {
	err := c.readAll()
	c.net.Close()
	c.mutex.Lock()
	if c.closing {
		err = net.ErrClosed
	}
	c.err = err
	waiting := c.inFlight
	c.inFlight = nil
	c.mutex.Unlock()
	for _, done := range waiting {
		if done != nil {
			done(err)
		}
	}
	close(c.ended)
}

func (c *Client) readAll() error {
	buffer := make([]byte, bufferSize)
	filled := 0
	for {
		first, body, size, err := frame(buffer[:filled], 1<<28)
		if err != nil {
			return err
		}
		if size > 0 && filled >= size {
			if err := c.handle(first, buffer[body:size]); err != nil {
				return err
			}
			filled = copy(buffer, buffer[size:filled])
			continue
		}
		buffer = grow(buffer, filled)
		if c.readTimeout > 0 { // our pings have the server say something in time
			if err := c.net.SetReadDeadline(time.Now().Add(c.readTimeout)); err != nil {
				return err
			}
		}
		n, err := c.net.Read(buffer[filled:])
		if filled += n; err != nil && n == 0 {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return ErrKeepAlive
			}
			return err
		}
	}
}

func (c *Client) handle(first byte, body []byte) error {
	switch first >> 4 {
	case typePublish:
		var message Publish
		if err := message.decode(first, body); err != nil {
			return err
		}
		c.receive(string(message.Topic), bytes.Clone(message.Payload))
		if message.QoS == 1 {
			return c.write(func(b []byte) ([]byte, error) { return appendPuback(b, message.PacketID), nil })
		}
		return nil
	case typePuback:
		id, err := decodePuback(first, body)
		if err != nil {
			return err
		}
		c.mutex.Lock()
		done := c.inFlight[id]
		delete(c.inFlight, id)
		c.mutex.Unlock()
		if done != nil {
			done(nil)
		}
		return nil
	case typeSuback, typeUnsuback:
		r := reader{rest: body}
		id := r.packetID()
		if r.err != nil {
			return r.err
		}
		c.mutex.Lock()
		answer := c.subscribe[id]
		delete(c.subscribe, id)
		c.mutex.Unlock()
		if answer != nil {
			answer <- bytes.Clone(r.rest)
		}
		return nil
	case typePingresp:
		return nil
	}
	return errors.New("the server sent a packet that only clients send")
}
