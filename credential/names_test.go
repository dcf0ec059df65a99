package credential

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

// FuzzCanonicalName compares names that strangers write.
func FuzzCanonicalName(f *testing.F) {
	for _, name := range []pkix.Name{{}, {CommonName: "Root"},
		{Organization: []string{"Example Works"}, CommonName: "Rœt"}} {
		encoded, err := asn1.Marshal(name.ToRDNSequence())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		if CanonicalName(encoded) != CanonicalName(append([]byte{}, encoded...)) {
			t.Errorf("%x has two forms", encoded)
		}
	})
}
