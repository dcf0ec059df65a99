package attest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/berth-iot/berth/credential"
)

// TestMACs compares the HMAC of the search with package crypto/hmac's.
func TestMACs(t *testing.T) {
	own := macs{hash: sha256.New()}
	for size := range 130 {
		key, text := make([]byte, size), make([]byte, 3*size)
		rand.Read(key)
		rand.Read(text)
		mac := hmac.New(sha256.New, key)
		mac.Write(text)
		if want, got := mac.Sum(nil), own.sum(nil, key, text); !slices.Equal(got, want) {
			t.Errorf("with a key of %d bytes: %x, want %x", size, got, want)
		}
	}
}

func TestDerivedSearch(t *testing.T) {
	evidence := Evidence{RegistrationID: "Meter-1",
		Evidence: credential.Evidence{Token: token(t, "0ne1/registrations/Meter-1", "", DeriveKey(ownKey, "Meter-1"),
			noon)}}
	search, err := NewDerivedSearch(evidence)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{ownKey: true, otherKey: false, "": false, "no base64!": false} {
		if got := search.Try(ParseGroupKey(text)); got != want {
			t.Errorf("the group key %q: %v", text, got)
		}
	}
	if allocated := testing.AllocsPerRun(100, func() { search.Try(ParseGroupKey(ownKey)) }); allocated > 3 {
		t.Errorf("to try a key allocates %v times", allocated)
	}
}
