package hub

import (
	"errors"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/store"
)

// What is read from the store is held against what the code relies on, so that a
// damaged record is one that can't be read, and nothing worse.
var (
	_ store.Checkable = (*twin)(nil)
)

// Intact implements store.Checkable.
func (t *twin) Intact() error {
	for _, part := range []document.Object{t.Tags, t.Desired.Properties, t.Desired.Metadata, t.Reported.Properties,
		t.Reported.Metadata} {
		if part.IsZero() {
			return errors.New("a part of the twin is missing")
		}
	}
	return nil
}
