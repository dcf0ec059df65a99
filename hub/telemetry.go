package hub

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// maxMessage is the size of the largest message in bytes: payload with the names
// and values of its properties (Azure: 256 KB).
const maxMessage = 256 << 10

// Message is telemetry from a device. Its slices are not kept.
type Message struct {
	System     []Property // by their names on the service side: message-id, content-type, …
	Properties []Property // the application's
	Payload    []byte
}

// Property is a name with its value.
type Property struct{ Name, Value []byte }

func (m *Message) size() int {
	size := len(m.Payload)
	for _, properties := range [2][]Property{m.System, m.Properties} {
		for _, property := range properties {
			size += len(property.Name) + len(property.Value)
		}
	}
	return size
}

// Send puts a message into the hub's telemetry. committed is called with token
// when the message is durable, from a goroutine of the log. Nothing of the
// message is kept, and nothing is allocated. It returns fault 413001 for a
// message that is too large, and 401002 once the session is over.
func (s *Session) Send(m *Message, committed store.Committer, token uint64) error {
	if err := s.check(); err != nil {
		return err
	}
	s.touch()
	return s.append(m, committed, token)
}

// SendWill is Send for the message that a device has left for when its connection
// breaks. That is due when another connection has taken over, the token has expired
// or the hub shuts down as well, and not for a device that may no longer connect.
func (s *Session) SendWill(m *Message, committed store.Committer, token uint64) error {
	if reason := s.over.Load(); reason != nil {
		switch *reason {
		case ErrDisabled, ErrDeleted, ErrCredentialChanged, ErrRevoked:
			return s.check()
		}
	}
	return s.append(m, committed, token)
}

func (s *Session) append(m *Message, committed store.Committer, token uint64) error {
	size := m.size()
	if size > maxMessage {
		return fault.New(fault.MessageTooLarge, "The message has %d bytes with its properties, the limit is %d", size, maxMessage)
	}
	buffer := records.Get().(*[]byte)
	record := append((*buffer)[:0], s.head...)
	record = appendProperties(record, m.System)
	record = appendProperties(record, m.Properties)
	record = append(record, m.Payload...)
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

// A record in the log is
//
//	version (1) method (1) device id, generation id (strings)
//	count of system properties, then their names and values (strings)
//	count of application properties, then their names and values (strings)
//	payload (the rest)
//
// with counts and the lengths of strings as unsigned varints.
const recordVersion = 1

func appendRecordHead(b []byte, deviceID, generation string, method authMethod) []byte {
	b = append(b, recordVersion, byte(method))
	b = appendString(b, []byte(deviceID))
	return appendString(b, []byte(generation))
}

func appendProperties(b []byte, properties []Property) []byte {
	b = binary.AppendUvarint(b, uint64(len(properties)))
	for _, property := range properties {
		b = appendString(appendString(b, property.Name), property.Value)
	}
	return b
}

func appendString(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// record is a record as it is read back; its slices are parts of what was read.
type record struct {
	method               authMethod
	deviceID, generation []byte
	Message
}

var errRecord = errors.New("a telemetry record is not one that this version writes")

func decodeRecord(b []byte) (r record, err error) {
	if len(b) < 2 || b[0] != recordVersion {
		return r, errRecord
	}
	r.method = authMethod(b[1])
	rest := b[2:]
	if r.deviceID, rest, err = cutString(rest); err != nil {
		return r, err
	}
	if r.generation, rest, err = cutString(rest); err != nil {
		return r, err
	}
	if r.System, rest, err = cutProperties(rest); err != nil {
		return r, err
	}
	if r.Properties, rest, err = cutProperties(rest); err != nil {
		return r, err
	}
	r.Payload = rest
	return r, nil
}

// sentBy reports whether a record is of this device, without reading the rest of it.
func sentBy(record []byte, deviceID string) bool {
	if len(record) < 2 || record[0] != recordVersion {
		return true // whoever decodes it says what is wrong
	}
	sender, _, err := cutString(record[2:])
	return err != nil || string(sender) == deviceID
}

func cutProperties(b []byte) (properties []Property, rest []byte, err error) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)) { // each takes at least two bytes
		return nil, nil, errRecord
	}
	rest = b[n:]
	for range count {
		var property Property
		if property.Name, rest, err = cutString(rest); err != nil {
			return nil, nil, err
		}
		if property.Value, rest, err = cutString(rest); err != nil {
			return nil, nil, err
		}
		properties = append(properties, property)
	}
	return properties, rest, nil
}

func cutString(b []byte) (s, rest []byte, err error) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, errRecord
	}
	return b[n : n+int(length)], b[n+int(length):], nil
}
