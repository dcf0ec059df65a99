// Package access keeps the shared access policies of a service, by which back ends and
// operators prove themselves: names with two keys and the rights that these give.
package access

import (
	"errors"
	"slices"

	"github.com/berth-iot/berth/credential"
)

// Policy is a shared access policy.
type Policy struct {
	Name         string   `json:"keyName"`
	PrimaryKey   string   `json:"primaryKey"`   // base64
	SecondaryKey string   `json:"secondaryKey"` // base64
	Rights       []string `json:"rights"`
	ETag         string   `json:"etag,omitempty"` // with its quotes: "\"…\""; of one that was read
}

// NewPolicy returns a policy with two fresh keys of 32 bytes.
func NewPolicy(name string, rights ...string) Policy {
	return Policy{Name: name, PrimaryKey: credential.NewKey(32), SecondaryKey: credential.NewKey(32), Rights: rights}
}

// Allows reports whether the policy has the right.
func (p Policy) Allows(right string) bool { return slices.Contains(p.Rights, right) }

// Intact implements store.Checkable.
func (p *Policy) Intact() error {
	if p.Name == "" || p.PrimaryKey == "" {
		return errors.New("it has no name, or no key")
	}
	return nil
}
