package attest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// registrationKeyName is the key name of a device's token (skn). Python's SDK
// leaves it out.
const registrationKeyName = "registration"

// checkToken judges a shared access signature by itself: is it one, for this
// device, and in time (Azure, concepts-symmetric-key-attestation).
func checkToken(trace *Trace, evidence Evidence, now time.Time) (Refusal, bool) {
	token, err := credential.ParseToken(evidence.Token)
	if err != nil {
		trace.Fail("token", fault.TextOf(err), fault.Say("a shared access signature with sr, sig, se and skn"),
			fault.Say("Let the device SDK make the token from the device's key"))
		return Refusal(fmt.Sprintf("The shared access signature is malformed: %v", err)), false
	}
	trace.Pass("token", "a shared access signature")

	asked := credential.RegistrationResource(evidence.IDScope, evidence.RegistrationID)
	if wanted := asked.String(); !token.Covers(asked) {
		trace.Fail("token resource", fault.Say("%.300q", token.Resource), fault.Say("%s", wanted),
			fault.Say("The token was made for another ID scope or registration id, or for a hub. "+
				"Give the device its own values and let it make a new one"))
		return Refusal(fmt.Sprintf("The token is for %.300q and not for %s", token.Resource, wanted)), false
	}
	trace.Pass("token resource", "%.300s", token.Resource)

	if token.KeyName != "" && token.KeyName != registrationKeyName {
		trace.Fail("token key name", fault.Say("%.64q", token.KeyName), fault.Say("%s", registrationKeyName),
			fault.Say("A token for provisioning has skn=registration, or none; "+
				"one with the name of a policy is for back ends"))
		return Refusal(fmt.Sprintf("The token's key name is %.64q and not registration", token.KeyName)), false
	}
	expiry := stamp(token.Expiry)
	if token.Expired(now) {
		trace.Fail("token expiry", fault.Say("until %s", expiry),
			fault.Say("later than %s, this server's time", stamp(now)),
			fault.Say("Let the device make a new token, and compare its clock with this server's"))
		return Refusal("The token expired at " + expiry), false
	}
	trace.Pass("token expiry", "until %s", expiry)
	return "", true
}

// Signed judges whether the device's token was made with one of the keys
// (base64) of its enrollment; secondary may be empty.
func Signed(trace *Trace, evidence Evidence, now time.Time, primary, secondary string) (Refusal, bool) {
	if len(evidence.Certificates) > 0 { // then the token was not looked at yet
		if refusal, ok := checkToken(trace, evidence, now); !ok {
			return refusal, false
		}
	}
	if name, ok := SigningKey(evidence, primary, secondary); ok {
		trace.Pass("token signature", "%s", keyUsed(name))
		return "", true
	}
	trace.Fail("token signature", fault.Say("made with another key"),
		fault.Say("made with the primary or secondary key of the enrollment"),
		fault.Say("Give the device the enrollment's key as it is: base64, not decoded, without spaces. "+
			"A device of a group has the key that is derived from the group's"))
	return NotAdmitted, false
}

func keyUsed(name string) fault.Text {
	if name == "secondary" {
		return fault.Say("made with the secondary key")
	}
	return fault.Say("made with the primary key")
}

// SigningKey tells which of two keys made the device's token: primary or
// secondary.
func SigningKey(evidence Evidence, primary, secondary string) (name string, ok bool) {
	token, err := credential.ParseToken(evidence.Token)
	if err != nil {
		return "", false
	}
	// Both are compared, so that the time does not tell which it was.
	first, second := token.SignedBy(primary), token.SignedBy(secondary)
	switch {
	case first:
		return "primary", true
	case second:
		return "secondary", true
	}
	return "", false
}

// DeriveKey returns the key of a device of a group: the HMAC-SHA256 of its
// registration id, as it writes it, with the group's key. Both are base64. It
// is "" for a group key that is none.
func DeriveKey(groupKey, registrationID string) string {
	secret, err := base64.StdEncoding.DecodeString(groupKey)
	if err != nil || len(secret) == 0 {
		return ""
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(registrationID))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
