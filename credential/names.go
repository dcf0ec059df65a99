package credential

import (
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// attribute is a part of a distinguished name. The value is left as it is encoded:
// strings have several forms.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

type attributeSET []attribute

// CanonicalName returns an encoded distinguished name in a form that is the same for
// all spellings of it: authorities write a name as PrintableString in one certificate
// and in UTF-8 in another, or in other letters (RFC 5280, section 7.1). What is no name
// is returned as it is.
func CanonicalName(encoded []byte) string {
	parts, ok := CanonicalParts(encoded)
	if !ok {
		return string(encoded)
	}
	return strings.Join(parts, "/")
}

// NameKeys returns what an encoded distinguished name is stored under: key is the same
// for all its spellings, former is what versions before made of the name as it is
// encoded. Both are in hexadecimal.
func NameKeys(encoded []byte) (key, former string) {
	return hashOf([]byte(CanonicalName(encoded))), hashOf(encoded)
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// CanonicalParts returns the parts of an encoded name from its root, each in the form
// of CanonicalName. It reports false for what is no name.
func CanonicalParts(encoded []byte) (parts []string, ok bool) {
	var name []attributeSET
	if rest, err := asn1.Unmarshal(encoded, &name); err != nil || len(rest) > 0 {
		return nil, false
	}
	for _, set := range name {
		attributes := make([]string, len(set))
		for i, attribute := range set {
			attributes[i] = attribute.Type.String() + "=" + canonicalValue(attribute.Value)
		}
		slices.Sort(attributes)
		parts = append(parts, strings.Join(attributes, "+"))
	}
	return parts, true
}

// Tags of strings that package encoding/asn1 has no names for.
const tagUniversalString = 28

// canonicalValue is a string in quotes, in small letters and without needless space.
// What is no string is in hexadecimal.
func canonicalValue(value asn1.RawValue) string {
	var text string
	switch value.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString:
		text = string(value.Bytes)
	case asn1.TagT61String: // as everybody reads it: ISO 8859-1
		runes := make([]rune, len(value.Bytes))
		for i, b := range value.Bytes {
			runes[i] = rune(b)
		}
		text = string(runes)
	case asn1.TagBMPString:
		units := make([]uint16, len(value.Bytes)/2)
		for i := range units {
			units[i] = uint16(value.Bytes[2*i])<<8 | uint16(value.Bytes[2*i+1])
		}
		text = string(utf16.Decode(units))
	case tagUniversalString:
		runes := make([]rune, len(value.Bytes)/4)
		for i := range runes {
			b := value.Bytes[4*i:]
			runes[i] = rune(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
		}
		text = string(runes)
	default:
		return hex.EncodeToString(value.FullBytes)
	}
	return strconv.Quote(strings.Join(strings.Fields(strings.ToLower(text)), " "))
}
