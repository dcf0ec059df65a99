package mqtt

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/telemetry"
)

var (
	errBag     = errors.New("the topic's property bag is not percent-encoded name=value pairs")
	errBagText = errors.New("the topic's property bag is not UTF-8 once it is decoded: percent-encode the bytes of " +
		"UTF-8")
)

// bag reads property bags. It keeps its memory from one message to the next.
type bag struct {
	system, properties []message.Property
	text               []byte // decoded names and values
}

// parse fills the bag from its encoded form, name=value pairs joined by &. A
// name without = has an empty value. The properties stay valid until the next
// parse.
func (b *bag) parse(encoded []byte) error {
	b.system, b.properties, b.text = b.system[:0], b.properties[:0], b.text[:0]
	if cap(b.text) < len(encoded) {
		b.text = make([]byte, 0, len(encoded)) // decoding never grows: slices of it stay put
	}
	// A trailing slash follows the bag of some clients, a question mark leads
	// that of others.
	encoded = bytes.TrimPrefix(bytes.TrimSuffix(encoded, []byte("/")), []byte("?"))
	for len(encoded) > 0 {
		var pair []byte
		pair, encoded, _ = bytes.Cut(encoded, []byte("&"))
		if len(pair) == 0 {
			continue
		}
		name, value, _ := bytes.Cut(pair, []byte("="))
		name, err := b.decode(name)
		if err == nil {
			value, err = b.decode(value)
		}
		if err != nil {
			return err
		}
		if len(b.system)+len(b.properties) == telemetry.MaxProperties {
			return fmt.Errorf("the message has more than %d properties", telemetry.MaxProperties)
		}
		if property, ok := contract.PropertyOfMQTT(name); ok {
			b.system = append(b.system, message.Property{Name: property.Bytes(), Value: value})
		} else {
			b.properties = append(b.properties, message.Property{Name: name, Value: value})
		}
	}
	return nil
}

// decode resolves %XX; a plus sign stays one. What has none is UTF-8 as the whole topic.
func (b *bag) decode(encoded []byte) ([]byte, error) {
	if bytes.IndexByte(encoded, '%') < 0 {
		return encoded, nil
	}
	start := len(b.text)
	for i := 0; i < len(encoded); i++ {
		c := encoded[i]
		if c == '%' {
			if i+2 >= len(encoded) {
				return nil, errBag
			}
			high, low := unhex(encoded[i+1]), unhex(encoded[i+2])
			if high > 15 || low > 15 {
				return nil, errBag
			}
			c = high<<4 | low
			i += 2
		}
		b.text = append(b.text, c)
	}
	decoded := b.text[start:len(b.text):len(b.text)]
	if !utf8.Valid(decoded) {
		return nil, errBagText
	}
	return decoded, nil
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// idOf returns the id in a topic of a device or module, or in a filter of such topics, as it
// stands there: some clients percent-encode it.
func idOf(topic string) string {
	rest, _ := strings.CutPrefix(topic, "devices/")
	deviceID, rest, _ := strings.Cut(rest, "/")
	if below, ok := strings.CutPrefix(rest, "modules/"); ok {
		moduleID, _, _ := strings.Cut(below, "/")
		return identity.ModuleKey(deviceID, moduleID)
	}
	return deviceID
}

// query returns the value of a parameter of a topic, as it stands there: $rid is
// echoed as it came.
func query(encoded []byte, name string) (value []byte, ok bool) {
	for len(encoded) > 0 {
		var pair []byte
		pair, encoded, _ = bytes.Cut(encoded, []byte("&"))
		if key, value, _ := bytes.Cut(pair, []byte("=")); string(key) == name {
			return value, true
		}
	}
	return nil, false
}
