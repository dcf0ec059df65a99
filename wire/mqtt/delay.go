package mqtt

import (
	"bytes"
	"time"
)

// delayedAnswers are answers that wait for their time, in the order in which they were
// given. A connection has them only once there is one; its mutex guards them.
type delayedAnswers struct {
	queue []delayedAnswer
	size  int // bytes
	timer *time.Timer
}

type delayedAnswer struct {
	due     time.Time
	topic   string
	payload []byte
	qos     byte
}

// answerOverhead is what an answer that waits takes besides its topic and payload, in
// bytes.
const answerOverhead = 128

func (a *delayedAnswer) size() int { return len(a.topic) + len(a.payload) + answerOverhead }

// RespondNotBefore is Respond for an answer that must not leave before its time. It
// does not wait for that, and what comes meanwhile is served. Only when as many wait as
// may, it waits for one of them to leave. What waits when the
// connection ends is dropped.
func (c *Conn) RespondNotBefore(due time.Time, topic string, payload []byte, qos byte) error {
	if time.Until(due) <= 0 {
		return c.Respond(topic, payload, qos)
	}
	if err := checkPublish(topic, payload); err != nil {
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err := c.awaitOutbound(); err != nil {
		return err
	}
	if c.delayed == nil {
		c.delayed = new(delayedAnswers)
	}
	waiting, answer := c.delayed, delayedAnswer{due, topic, bytes.Clone(payload), qos}
	for len(waiting.queue) > 0 && waiting.size+answer.size() > c.maxAnswers() && !c.closing {
		c.awaitOthers()
	}
	if c.closing {
		return c.closeReason()
	}
	waiting.queue = append(waiting.queue, answer)
	waiting.size += answer.size()
	switch {
	case waiting.timer == nil:
		waiting.timer = time.AfterFunc(time.Until(due), c.sendDelayed)
	case len(waiting.queue) == 1:
		waiting.timer.Reset(time.Until(due))
	}
	return nil
}

// sendDelayed sends the answers whose time has come. A timer calls it.
func (c *Conn) sendDelayed() {
	defer c.Recover()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	waiting := c.delayed
	for len(waiting.queue) > 0 && !c.closing {
		first := waiting.queue[0]
		if remaining := time.Until(first.due); remaining > 0 {
			waiting.timer.Reset(remaining)
			break
		}
		waiting.queue[0] = delayedAnswer{} // or the array holds it
		waiting.queue = waiting.queue[1:]
		waiting.size -= first.size()
		c.respond(first.topic, first.payload, first.qos)
	}
	if len(waiting.queue) == 0 || c.closing {
		waiting.queue, waiting.size = nil, 0
	}
	c.room.Broadcast()
}

// dropDelayed drops the answers that wait. The mutex is held.
func (c *Conn) dropDelayed() {
	if waiting := c.delayed; waiting != nil {
		if waiting.timer != nil {
			waiting.timer.Stop()
		}
		waiting.queue, waiting.size = nil, 0
	}
}
