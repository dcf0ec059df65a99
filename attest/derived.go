package attest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"

	"github.com/berth-iot/berth/credential"
)

// GroupKey is a key from which the keys of devices are derived, decoded.
type GroupKey []byte

// ParseGroupKey decodes base64; it is empty for what is no key.
func ParseGroupKey(key string) GroupKey {
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return nil
	}
	return secret
}

// DerivedSearch tries group keys, one after the other, on the token of one device.
// It is for use by one goroutine.
type DerivedSearch struct {
	registrationID []byte
	token          *credential.Token
	mac            macs
	derived        [sha256.Size]byte
}

// NewDerivedSearch begins a search for the key that made the device's token, which
// has been judged by itself.
func NewDerivedSearch(evidence Evidence) (*DerivedSearch, error) {
	token, err := credential.ParseToken(evidence.Token)
	if err != nil {
		return nil, err
	}
	return &DerivedSearch{
		registrationID: []byte(evidence.RegistrationID),
		token:          token,
		mac:            macs{hash: sha256.New()},
	}, nil
}

// Try reports whether the token was made with the key that is derived from this one
// for the device.
func (d *DerivedSearch) Try(key GroupKey) bool {
	if len(key) == 0 {
		return false
	}
	d.mac.sum(d.derived[:0], key, d.registrationID)
	return d.token.SignedWith(func(sum, text []byte) []byte { return d.mac.sum(sum, d.derived[:], text) })
}

// macs computes HMAC-SHA256 (RFC 2104) with many keys. Package crypto/hmac makes
// new hashes for each key, which costs more than the computation.
type macs struct {
	hash hash.Hash
	pad  [sha256.BlockSize]byte
	part [sha256.Size]byte
}

func (m *macs) sum(sum, key, text []byte) []byte {
	if len(key) > sha256.BlockSize {
		mac := hmac.New(sha256.New, key)
		mac.Write(text)
		return mac.Sum(sum)
	}
	m.start(key, 0x36)
	m.hash.Write(text)
	inner := m.hash.Sum(m.part[:0])
	m.start(key, 0x5c)
	m.hash.Write(inner)
	return m.hash.Sum(sum)
}

func (m *macs) start(key []byte, pad byte) {
	for i := range m.pad {
		m.pad[i] = pad
	}
	for i, b := range key {
		m.pad[i] ^= b
	}
	m.hash.Reset()
	m.hash.Write(m.pad[:])
}
