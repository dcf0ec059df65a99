// Package credential reads, makes and checks what devices and back ends prove
// themselves with: shared access signature tokens, keys and policies,
// connection strings, certificates and their thumbprints. Both services use it.
package credential

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
)

// tokenPrefix starts every token, as the value of HTTP's Authorization or as an
// MQTT or AMQP password.
const tokenPrefix = "SharedAccessSignature "

// bearer starts the tokens of Microsoft Entra ID.
const bearer = "Bearer "

// maxToken bounds a token in bytes. The longest honest one, for a module with
// two names of 128 characters, each percent-encoded, stays below 2 KiB.
const maxToken = 4096

// ClockSkew is how long after its expiry a token is still taken, because
// devices' clocks are late (documented for IoT Hub as about five minutes).
const ClockSkew = 5 * time.Minute

// Token is a parsed shared access signature:
//
//	SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={key name}
//
// with its fields in any order.
type Token struct {
	Resource string    // sr, decoded: a host, or host/devices/id, or scope/registrations/id
	Expiry   time.Time // se, to the second
	KeyName  string    // skn: a policy, "registration", or "" for a device's own key

	signature []byte
	signed    string // what the signature is over: sr exactly as received, a newline, se
}

// ParseToken reads a token. Its errors say what is malformed and never quote
// the signature.
func ParseToken(text string) (*Token, error) {
	if len(text) > len(bearer) && strings.EqualFold(text[:len(bearer)], bearer) {
		return nil, fault.NewReason("it is a bearer token, as Microsoft Entra ID gives them, and Entra ID is not " +
			"known here. Sign in with the key of a policy: a connection string has one")
	}
	if len(text) > maxToken {
		return nil, fault.NewReason("a token has at most %d bytes, this one has %d", maxToken, len(text))
	}
	fields, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok {
		return nil, fault.NewReason("a token starts with SharedAccessSignature and a space")
	}
	values := make(map[string]string, 4)
	for field := range strings.SplitSeq(fields, "&") {
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return nil, fault.NewReason("a token's fields are name=value, joined by &")
		}
		if _, twice := values[name]; twice {
			return nil, fault.NewReason("the token has the field %.8q twice", name)
		}
		values[name] = value
	}
	for _, name := range []string{"sr", "sig", "se"} {
		if values[name] == "" {
			return nil, fault.NewReason("the token has no field %s", name)
		}
	}
	token := &Token{signed: values["sr"] + "\n" + values["se"]}
	// Path rules, not query rules: a plus sign in a signature stays one.
	sig, err := url.PathUnescape(values["sig"])
	if err == nil {
		token.signature, err = base64.StdEncoding.DecodeString(sig)
	}
	if err != nil {
		return nil, fault.NewReason("the token's sig is not percent-encoded base64")
	}
	if token.Resource, err = url.PathUnescape(values["sr"]); err != nil {
		return nil, fault.NewReason("the token's sr is not percent-encoded")
	}
	if token.KeyName, err = url.PathUnescape(values["skn"]); err != nil {
		return nil, fault.NewReason("the token's skn is not percent-encoded")
	}
	seconds, err := strconv.ParseInt(values["se"], 10, 64)
	if err != nil {
		// Some clients send a fraction (Python's time.time() + 3600).
		fraction, err := strconv.ParseFloat(values["se"], 64)
		if err != nil || fraction < 0 || fraction > 1<<53 {
			return nil, fault.NewReason("the token's se is not a number of seconds since 1970")
		}
		seconds = int64(fraction)
	}
	if seconds < 0 || seconds > 1<<40 {
		return nil, fault.NewReason("the token's se is not a time in the future")
	}
	token.Expiry = time.Unix(seconds, 0).UTC()
	return token, nil
}

// SignedBy reports whether the key (base64) signed the token. It takes the same
// time whatever the difference.
func (t *Token) SignedBy(key string) bool {
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(secret) == 0 {
		return false
	}
	return hmac.Equal(t.signature, sign(secret, t.signed))
}

// SignedWith is SignedBy for who computes the HMAC-SHA256 otherwise: mac appends
// that of a text to sum.
func (t *Token) SignedWith(mac func(sum, text []byte) []byte) bool {
	var sum [sha256.Size]byte
	return hmac.Equal(t.signature, mac(sum[:0], []byte(t.signed)))
}

// Expired reports whether the token's time is over, skew included.
func (t *Token) Expired(now time.Time) bool { return now.After(t.Expiry.Add(ClockSkew)) }

// NewToken makes a token for a resource as it reads before encoding. keyName
// names the policy, and is empty for a device's own key. The key is base64.
func NewToken(resource, keyName, key string, expiry time.Time) (string, error) {
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(secret) == 0 {
		return "", fault.NewReason("the shared access key is not base64")
	}
	return SignToken(resource, keyName, expiry,
		func(text []byte) ([]byte, error) { return sign(secret, string(text)), nil })
}

// SignToken makes a token as NewToken does, for a key that is kept elsewhere:
// signer returns the HMAC-SHA256 of a text with it.
func SignToken(resource, keyName string, expiry time.Time, signer func(text []byte) ([]byte, error)) (string, error) {
	sr, se := url.QueryEscape(resource), strconv.FormatInt(expiry.Unix(), 10)
	mac, err := signer([]byte(sr + "\n" + se))
	if err != nil {
		return "", fmt.Errorf("sign the token for %s: %w", resource, err)
	}
	signature := base64.StdEncoding.EncodeToString(mac)
	token := tokenPrefix + "sr=" + sr + "&sig=" + url.QueryEscape(signature) + "&se=" + se
	if keyName != "" {
		token += "&skn=" + url.QueryEscape(keyName)
	}
	return token, nil
}

func sign(secret []byte, text string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// NewKey returns a random key of size bytes in base64. Azure makes 32 for
// devices and policies of a hub, 64 for enrollments.
func NewKey(size int) string {
	key := make([]byte, size)
	rand.Read(key) // never fails, see crypto/rand
	return base64.StdEncoding.EncodeToString(key)
}

// ValidKey reports whether key is base64 of 16 to 64 bytes, as devices' keys
// must be.
func ValidKey(key string) bool {
	secret, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(secret) >= 16 && len(secret) <= 64
}
