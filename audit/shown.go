package audit

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
)

// safe are the fields whose values are shown: those that are known to hold no
// secret. Of all others it is only told that they changed, such as keys, and what
// people put into twins under names of their own.
var safe = func() map[string]bool {
	fields := map[string]bool{}
	for _, path := range strings.Fields(`
		registrationId enrollmentGroupId deviceId parentDeviceId provisioningStatus capabilities.iotEdge
		iotHubHostName iotHubs allocationPolicy customAllocationDefinition.apiVersion credentialPolicyName
		reprovisionPolicy.updateHubAssignment reprovisionPolicy.migrateDeviceData
		attestation.type attestation.x509.caReferences.primary attestation.x509.caReferences.secondary
		name location applyAllocationPolicy allocationWeight local address measureLatency
		prefix keyName rights issuingAuthority validityMinutes keyTypes dnsNames isVerified`) {
		fields[path] = true
	}
	for _, certificate := range []string{"info",
		"attestation.x509.clientCertificates.primary.info", "attestation.x509.clientCertificates.secondary.info",
		"attestation.x509.signingCertificates.primary.info", "attestation.x509.signingCertificates.secondary.info"} {
		for _, field := range strings.Fields(`subjectName sha1Thumbprint sha256Thumbprint issuerName
			notBeforeUtc notAfterUtc serialNumber version`) {
			fields[certificate+"."+field] = true
		}
	}
	return fields
}()

const (
	webhookPath = "customAllocationDefinition.webhookUrl"
	latencies   = "latencies." // by the names of locations
)

// index is the place of an element in an array.
var index = regexp.MustCompile(`\[\d+\]`)

// shown is the value of a field as anybody may see it.
func shown(path, text string) string {
	plain := index.ReplaceAllString(path, "")
	switch {
	case text == "":
		return ""
	case plain == webhookPath:
		return origin(text)
	case safe[plain], strings.HasPrefix(plain, latencies):
		return shorten(text)
	}
	return hidden
}

// origin is the scheme and host of an address in JSON. Web services are often
// protected by nothing but a user, a path or a code in their addresses.
func origin(text string) string {
	var address string
	if err := json.Unmarshal([]byte(text), &address); err != nil {
		return hidden
	}
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" {
		return hidden
	}
	told := parsed.Scheme + "://" + parsed.Host
	if address != told && address != told+"/" {
		told += "/" + hidden
	}
	return shorten(`"` + told + `"`)
}

// reshown are the fields as they are shown today: an entry may be older than what
// is known of secrets.
func reshown(fields []Field) []Field {
	for i, field := range fields {
		fields[i].Before, fields[i].After = reshow(field.Path, field.Before), reshow(field.Path, field.After)
	}
	return fields
}

func reshow(path, text string) string {
	if again := shown(path, text); again == hidden || index.ReplaceAllString(path, "") == webhookPath {
		return again
	}
	return text
}
