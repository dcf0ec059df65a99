package credential

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const someKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// The signature was made with openssl:
//
//	printf 'localhost%%2Fdevices%%2Fd1\n1795435200' | openssl dgst -sha256 -mac HMAC -macopt hexkey:3031…66 -binary | base64
const opensslSignature = "7u2ddWTW/HELzExEO3Kte5j+QZXCNrk1R9G5vO6QJp0="

func TestTokenOfAnotherImplementation(t *testing.T) {
	for _, text := range []string{
		"SharedAccessSignature sr=localhost%2Fdevices%2Fd1&sig=" + url.QueryEscape(opensslSignature) + "&se=1795435200",
		"SharedAccessSignature se=1795435200&sig=" + opensslSignature + "&sr=localhost%2Fdevices%2Fd1&skn=",
	} {
		token, err := ParseToken(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !token.SignedBy(someKey) {
			t.Errorf("%s: the signature does not verify", text)
		}
		if token.Resource != "localhost/devices/d1" || token.Expiry.Unix() != 1795435200 {
			t.Errorf("parsed to %+v", token)
		}
	}
}

// Clients spell sr in three ways; the signature is over what stands there.
func TestTokenSignatureIsOverTheResourceAsWritten(t *testing.T) {
	for _, resource := range []string{"0ne1%2fregistrations%2fd1", "0ne1%2Fregistrations%2Fd1",
		"0ne1/registrations/d1"} {
		made, err := NewToken("0ne1/registrations/d1", "registration", someKey, noon)
		if err != nil {
			t.Fatal(err)
		}
		token, err := ParseToken(strings.Replace(made, "0ne1%2Fregistrations%2Fd1", resource, 1))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := token.SignedBy(someKey), resource == "0ne1%2Fregistrations%2Fd1"; got != want {
			t.Errorf("sr=%s: SignedBy is %v, want %v", resource, got, want)
		}
		if token.Resource != "0ne1/registrations/d1" {
			t.Errorf("sr=%s decodes to %s", resource, token.Resource)
		}
	}
}

func TestMalformedTokens(t *testing.T) {
	for _, text := range []string{
		"",
		"Bearer x",
		"SharedAccessSignature",
		"SharedAccessSignature ",
		"SharedAccessSignature sr=a",
		"SharedAccessSignature sr=a&sig=b&se=",
		"SharedAccessSignature sr=a&sig=%zz&se=1",
		"SharedAccessSignature sr=a&sig=!!!!&se=1",
		"SharedAccessSignature sr=a&sig=AAAA&se=soon",
		"SharedAccessSignature sr=a&sig=AAAA&se=-5",
		"SharedAccessSignature sr=a&sig=AAAA&se=99999999999999999999",
		"SharedAccessSignature sr=a&sr=b&sig=AAAA&se=1",
		"SharedAccessSignature sr=a&sig=AAAA&se=1&x=" + strings.Repeat("y", maxToken),
	} {
		if token, err := ParseToken(text); err == nil {
			t.Errorf("%.60q was taken for %+v", text, token)
		} else if strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%.60q: the error shows the signature: %v", text, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("SharedAccessSignature sr=localhost%2Fdevices%2Fd1&sig=" + opensslSignature + "&se=1795435200&skn=x")
	f.Add("SharedAccessSignature sr=a&sig=AAAA&se=1.5")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err == nil &&
			(len(text) > maxToken || token.SignedBy(someKey) && token.Expired(noon) && token.Expiry.After(noon)) {
			t.Errorf("%q parsed to %+v", text, token)
		}
	})
}
