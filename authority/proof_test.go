package authority

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// TestProofOfPossession verifies an authority by a certificate that it signed for a code
// of the service, and by nothing else; another certificate has to be verified anew.
func TestProofOfPossession(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	root, rootKey := certify(t, "Root", nil, nil, true)
	if _, err := f.Put(ctx, "root", pemOf(root), false, ""); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, proof []byte, ifMatch string, code fault.Code, says string) {
		t.Helper()
		_, err := f.Verify(ctx, "root", proof, ifMatch)
		if !errors.Is(err, code) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: answered %v, want %d that says %q", what, err, int(code), says)
		}
	}
	refused("before there is a code", pemOf(root), "", fault.ArgumentInvalid, "no verification code yet")

	asked, err := f.NewVerificationCode(ctx, "root", "")
	if err != nil || len(asked.VerificationCode) != 48 || asked.IsVerified {
		t.Fatalf("a code is asked for: %+v, %v", asked, err)
	}
	proof, _ := certify(t, asked.VerificationCode, root, rootKey, false)
	stranger, strangersKey := certify(t, "Root", nil, nil, true)
	forged, _ := certify(t, asked.VerificationCode, stranger, strangersKey, false)
	another, _ := certify(t, "another code", root, rootKey, false)
	refused("no certificate", []byte("hello"), "", fault.ArgumentInvalid, "refused")
	refused("another name", pemOf(another), "", fault.ArgumentInvalid, "not the verification code")
	refused("another key", pemOf(forged), "", fault.ArgumentInvalid, "not signed with the key")
	refused("another ETag", pemOf(proof), `"old"`, fault.PreconditionFailed, "")
	f.now = noon.Add(366 * 24 * time.Hour)
	refused("a proof of last year", pemOf(proof), "", fault.ArgumentInvalid, "is valid from")
	f.now = noon
	verified, err := f.Verify(ctx, "root", pemOf(proof), asked.ETag)
	if err != nil || !verified.IsVerified || verified.VerificationCode != "" {
		t.Fatalf("with the proof it is %+v, %v", verified, err)
	}
	refused("the same proof again", pemOf(proof), "", fault.ArgumentInvalid, "no verification code yet")
	if _, err := f.NewVerificationCode(ctx, "nobody", ""); !errors.Is(err, fault.NotFound) {
		t.Errorf("a code for an authority that is not there: %v", err)
	}

	replaced, err := f.Put(ctx, "root", pemOf(stranger), false, verified.ETag)
	if err != nil || replaced.IsVerified {
		t.Errorf("with another certificate it is %+v, %v", replaced, err)
	}
}

// TestRestore puts an authority back as it was, also under its subject, and whoever rests
// on what it read learns that it has changed.
func TestRestore(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	root, _ := certify(t, "Root", nil, nil, true)
	if _, err := f.Put(ctx, "root", pemOf(root), true, ""); err != nil {
		t.Fatal(err)
	}
	loaded, err := f.Load(ctx, "root")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.documents.Commit(ctx, f.Unchanged(loaded)); err != nil {
		t.Errorf("nobody has changed it: %v", err)
	}
	if err := f.Delete(ctx, "root", "*", false); err != nil {
		t.Fatal(err)
	}
	if _, err := f.documents.Commit(ctx, f.Unchanged(loaded)); err == nil {
		t.Error("it is as it was, though it was deleted")
	}
	if _, err := f.documents.Commit(ctx, f.Restore(loaded)...); err != nil {
		t.Fatal(err)
	}
	found, err := f.BySubject(ctx, root.RawSubject)
	if err != nil || len(found) != 1 || !found[0].IsVerified || found[0].Name != "root" {
		t.Errorf("found by its subject are %+v, %v", found, err)
	}
}

// TestUnreadable: an authority that can't be read lets nobody in, and is replaced or
// deleted as one that is there.
func TestUnreadable(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	root, _ := certify(t, "Root", nil, nil, true)
	damage := func() {
		t.Helper()
		change := store.Change{Collection: "authorities", Key: "root", Value: []byte(`{"name":"root"}`)}
		if _, err := f.documents.Commit(ctx, change); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Get(ctx, "root"); !store.IsUnreadable(err) {
			t.Fatalf("it is read with %v", err)
		}
	}
	if _, err := f.Put(ctx, "root", pemOf(root), true, ""); err != nil {
		t.Fatal(err)
	}
	damage()
	if found, err := f.BySubject(ctx, root.RawSubject); err != nil || len(found) != 0 {
		t.Errorf("found by its subject are %+v, %v", found, err)
	}
	if _, err := f.NewVerificationCode(ctx, "root", ""); !store.IsUnreadable(err) {
		t.Errorf("a code for it: %v", err)
	}
	f.limit = 1
	f.open()
	if replaced, err := f.Put(ctx, "root", pemOf(root), true, "*"); err != nil || !replaced.IsVerified {
		t.Errorf("it is replaced by %+v, %v", replaced, err)
	}
	damage()
	f.use("root") // which is no reason to keep it
	if err := f.Delete(ctx, "root", "", false); err != nil {
		t.Errorf("it is deleted with %v", err)
	}
	if _, err := f.Get(ctx, "root"); !errors.Is(err, fault.NotFound) {
		t.Errorf("after the deletion: %v", err)
	}
}
