package provisioning

import (
	"errors"
	"fmt"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// What is read from the store is held against what the code relies on, so that a
// damaged record is one that can't be read, and nothing worse.
var (
	_ store.Checkable = (*storedRegistration)(nil)
	_ store.Checkable = (*intent)(nil)
	_ store.Checkable = (*owner)(nil)
)

// Intact implements store.Checkable.
func (r *storedRegistration) Intact() error {
	if enroll.CheckRegistrationID(r.RegistrationID) != nil {
		return errors.New("it has no registration id")
	}
	return document.CheckFreeDepth("payload", r.Payload)
}

// Intact implements store.Checkable.
func (i *intent) Intact() error {
	if enroll.CheckRegistrationID(i.RegistrationID) != nil {
		return errors.New("it has no registration id")
	}
	if err := document.CheckDepth(i.Snapshot, document.MaxDepth); err != nil {
		return fmt.Errorf("case: %w", err)
	}
	return document.CheckFreeDepth("payload", i.Payload)
}

// Intact implements store.Checkable.
func (o *owner) Intact() error {
	if o.RegistrationID == "" {
		return errors.New("it names no registration")
	}
	return nil
}
