package provisioning

import (
	"context"
	"encoding/asn1"
	"errors"
	"testing"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// respelled is an authority that writes its name in UTF-8 in the certificates that it
// signs, other than in its own.
func respelled(t *testing.T, authority *issued) *issued {
	t.Helper()
	type attribute struct {
		Type  asn1.ObjectIdentifier
		Value string `asn1:"utf8"`
	}
	type partSET []attribute
	encoded, err := asn1.Marshal([]partSET{{{asn1.ObjectIdentifier{2, 5, 4, 3},
		authority.certificate.Subject.CommonName}}})
	if err != nil {
		t.Fatal(err)
	}
	certificate := *authority.certificate
	certificate.RawSubject = encoded
	return &issued{&certificate, authority.key, authority.pem}
}

// TestNamesInOtherSpellings finds groups and authorities by what their names mean, and
// those that versions before kept by how they are encoded.
func TestNamesInOtherSpellings(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	plant := certify(t, "Plant", nil, true)
	line := certify(t, "Line", respelled(t, plant), true)
	if _, err := h.Groups().Put(ctx, signedGroup("g", &enroll.X509Certificate{Certificate: plant.pem}, nil),
		""); err != nil {
		t.Fatal(err)
	}
	if _, failed, err := h.registerChain("d1", certify(t, "d1", respelled(t, plant), false)); err != nil {
		t.Errorf("a device of the group: %+v, %v", failed, err)
	}
	if _, err := h.Authorities().Put(ctx, "line", []byte(line.pem), true, ""); err != nil {
		t.Fatal(err)
	}
	device := certify(t, "d2", respelled(t, line), false)
	if _, failed, err := h.registerChain("d2", device); err != nil {
		t.Errorf("a device whose signer is known: %+v, %v", failed, err)
	}

	// As a version before kept it; then it is found as it is encoded.
	subjects := store.NewTable[string](h.config.Documents, "provisioning/authority-names")
	name, former := credential.NameKeys(line.certificate.RawSubject)
	name, former = name+"/line", former+"/line"
	if _, err := h.config.Documents.Commit(ctx, subjects.Delete(name, store.Present),
		subjects.Put(former, store.Absent, "line")); err != nil {
		t.Fatal(err)
	}
	own := certify(t, "d3", line, false)
	if _, failed, err := h.registerChain("d3", own); err != nil {
		t.Errorf("a device whose signer a former version kept: %+v, %v", failed, err)
	}
	if _, err := h.Authorities().Put(ctx, "line", []byte(line.pem), true, ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.registerChain("d2", device); err != nil {
		t.Errorf("after it was saved again: %v", err)
	}
	if err := h.Authorities().Delete(ctx, "line", "", false); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{name, former} {
		if _, _, err := subjects.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the name stays after the authority was deleted: %v", err)
		}
	}
	if _, _, err := h.registerChain("d3", own); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("after the authority was deleted: %v", err)
	}
}
