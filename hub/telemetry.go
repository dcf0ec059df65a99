package hub

import (
	"sync"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// maxMessage is the size of the largest message in bytes: payload with the names
// and values of its properties (Azure: 256 KB).
const maxMessage = 256 << 10

// Send puts a message into the hub's telemetry. committed is called with token
// when the message is durable, from a goroutine of the log. Nothing of the
// message is kept, and nothing is allocated. It returns fault 413001 for a
// message that is too large, and 401002 once the session is over.
func (s *Session) Send(m *message.Message, committed store.Committer, token uint64) error {
	if err := s.check(); err != nil {
		return err
	}
	s.touch()
	return s.append(m, committed, token)
}

// SendWill is Send for the message that a device has left for when its connection
// breaks. That is due when another connection has taken over, the token has expired
// or the hub shuts down as well, and not for a device that may no longer connect.
func (s *Session) SendWill(m *message.Message, committed store.Committer, token uint64) error {
	if reason := s.over.Load(); reason != nil {
		switch *reason {
		case ErrDisabled, ErrDeleted, ErrCredentialChanged, ErrRevoked:
			return s.check()
		}
	}
	return s.append(m, committed, token)
}

func (s *Session) append(m *message.Message, committed store.Committer, token uint64) error {
	size := m.Size()
	if size > maxMessage {
		return fault.New(fault.MessageTooLarge, "The message has %d bytes with its properties, the limit is %d", size, maxMessage)
	}
	buffer := records.Get().(*[]byte)
	record := m.AppendTo(append((*buffer)[:0], s.head...))
	s.hub.config.Telemetry.Append(s.partition, record, committed, token)
	s.hub.stats.messages.Add(1)
	s.hub.stats.bytes.Add(uint64(len(m.Payload)))
	if cap(record) <= maxPooledRecord {
		*buffer = record
	}
	records.Put(buffer)
	return nil
}

// maxPooledRecord keeps a rare large message from holding memory for ever.
const maxPooledRecord = 16 << 10

var records = sync.Pool{New: func() any { return new([]byte) }}
