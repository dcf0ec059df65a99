package attest

import (
	"errors"
	"testing"
)

// TestSignatures are checked once, within the budget, and not remembered without end.
func TestSignatures(t *testing.T) {
	root, other := sign(t, "Root", nil, authority), sign(t, "Root", nil, authority)
	device := sign(t, "device", root, nil)
	var signatures Signatures
	budget := 2
	for range 3 {
		if err := signatures.check(device.Certificate, root.Certificate, &budget); err != nil {
			t.Fatal(err)
		}
		if signatures.check(device.Certificate, other.Certificate, &budget) == nil {
			t.Fatal("another's key made the signature")
		}
	}
	if signatures.Checks() != 2 || budget != 0 {
		t.Errorf("%d signatures were checked, and %d are left of the budget", signatures.Checks(), budget)
	}
	neighbour := sign(t, "neighbour", root, nil)
	if err := signatures.check(neighbour.Certificate, root.Certificate, &budget); !errors.Is(err, errSignatureBudget) {
		t.Errorf("beyond the budget: %v", err)
	}
	for i := range 2 * maxSignatures {
		copied := *neighbour.Certificate
		copied.Raw = append([]byte{byte(i), byte(i >> 8)}, copied.Raw...)
		budget = 1
		if err := signatures.check(&copied, root.Certificate, &budget); err != nil {
			t.Fatal(err)
		}
	}
	if len(signatures.known) > maxSignatures {
		t.Errorf("%d pairs are remembered", len(signatures.known))
	}
}
