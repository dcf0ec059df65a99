package message

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// A record in a log is
//
//	version (1) method (1) device id, generation id (strings)
//	count of system properties, then their names and values (strings)
//	count of application properties, then their names and values (strings)
//	payload (the rest)
//
// with counts and the lengths of strings as unsigned varints.
const recordVersion = 1

// AppendHead appends what all records of a device begin with as long as it has proved
// itself by the same method: its id and generation. The id of a module is
// {device id}/{module id}; no other id has a slash.
func AppendHead(b []byte, deviceID, generation string, method AuthMethod) []byte {
	b = append(b, recordVersion, byte(method))
	b = appendString(b, []byte(deviceID))
	return appendString(b, []byte(generation))
}

// AppendTo appends what follows the head in the record of a message.
func (m *Message) AppendTo(b []byte) []byte {
	b = appendProperties(b, m.System)
	b = appendProperties(b, m.Properties)
	return append(b, m.Payload...)
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

// Record is a record as it is read back; its slices are parts of what was read.
type Record struct {
	Method             AuthMethod
	DeviceID, ModuleID []byte // no module id in a message of the device itself
	Generation         []byte // of the device or module
	Message
}

var errRecord = errors.New("a telemetry record is not one that this version writes")

// Decode reads a record: a head, and what AppendTo appended to it.
func Decode(b []byte) (r Record, err error) {
	if len(b) < 2 || b[0] != recordVersion {
		return r, errRecord
	}
	r.Method = AuthMethod(b[1])
	rest := b[2:]
	if r.DeviceID, rest, err = cutString(rest); err != nil {
		return r, err
	}
	r.DeviceID, r.ModuleID, _ = bytes.Cut(r.DeviceID, []byte("/"))
	if r.Generation, rest, err = cutString(rest); err != nil {
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

// SentBy reports whether a record is of this device, which its modules are parts of, or of
// this module, without reading the rest of it.
func SentBy(record []byte, id string) bool {
	if len(record) < 2 || record[0] != recordVersion {
		return true // whoever decodes it says what is wrong
	}
	sender, _, err := cutString(record[2:])
	return err != nil || len(sender) >= len(id) && string(sender[:len(id)]) == id &&
		(len(sender) == len(id) || sender[len(id)] == '/')
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
