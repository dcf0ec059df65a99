package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/berth-iot/berth/credential"
)

// commonFields are those that enrollments and groups have in common.
func commonFields() []doorCase {
	const primary, secondary = "cHJpbWFyeXByaW1hcnlwcmltYXJ5", "c2Vjb25kYXJ5c2Vjb25kYXJ5c2Vj"
	return []doorCase{
		{path: "attestation.type", want: `"symmetricKey"`},
		{path: "attestation.symmetricKey.primaryKey", want: `"` + primary + `"`, own: true,
			rest:  `{"attestation":{"type":"symmetricKey"}}`,
			flags: []string{"--primary-key", primary},
			form:  url.Values{"mechanism": {"symmetricKey"}, "primaryKey": {primary}}},
		{path: "attestation.symmetricKey.secondaryKey", want: `"` + secondary + `"`, own: true,
			rest:  `{"attestation":{"type":"symmetricKey"}}`,
			flags: []string{"--secondary-key", secondary}, form: url.Values{"mechanism": {"symmetricKey"},
				"secondaryKey": {secondary}}},
		{path: "capabilities.iotEdge", want: "true", flags: []string{"--edge-enabled"},
			form:  url.Values{"iotEdge": {"yes"}},
			clear: []string{"--edge-enabled=false"}, empty: url.Values{"iotEdge": nil}},
		{path: "iotHubHostName", want: `"127.0.0.2"`, flags: []string{"--hub", "EAST"},
			form:  url.Values{"hub": {"127.0.0.2"}},
			clear: []string{"--hub", ""}, empty: url.Values{"hub": {""}}},
		{path: "iotHubs", want: `["127.0.0.1","127.0.0.2"]`, flags: []string{"--hubs", "berth,127.0.0.2"},
			form:  url.Values{"hubs": {"127.0.0.1", "127.0.0.2"}},
			clear: []string{"--hubs", ""}, empty: url.Values{"hubs": nil}},
		{path: "initialTwin.tags", want: `{"plant":"Lyon"}`,
			flags: []string{"--initial-twin", `{"tags":{"plant":"Lyon"}}`},
			form:  url.Values{"initialTwin": {`{"tags":{"plant":"Lyon"}}`}}, clear: []string{"--initial-twin", ""},
			empty: url.Values{"initialTwin": {""}}},
		{path: "initialTwin.properties.desired", want: `{"interval":10}`, flags: []string{"--initial-twin",
			`{"properties":{"desired":{"interval":10}}}`},
			form:  url.Values{"initialTwin": {`{"properties":{"desired":{"interval":10}}}`}},
			clear: []string{"--initial-twin", ""}, empty: url.Values{"initialTwin": {""}}},
		{path: "provisioningStatus", want: `"disabled"`, flags: []string{"--provisioning-status", "disabled"},
			form: url.Values{"enabled": nil}},
		{path: "reprovisionPolicy.updateHubAssignment", want: "false", flags: []string{"--reprovision-policy", "never"},
			form: url.Values{"reprovision": {"never"}}},
		{path: "reprovisionPolicy.migrateDeviceData", want: "false",
			rest:  `{"reprovisionPolicy":{"updateHubAssignment":true}}`,
			flags: []string{"--reprovision-policy", "reset"}, form: url.Values{"reprovision": {"reset"}}},
		{path: "allocationPolicy", want: `"geoLatency"`, flags: []string{"--allocation-policy", "geoLatency"},
			form:  url.Values{"allocation": {"geoLatency"}},
			clear: []string{"--allocation-policy", ""}, empty: url.Values{"allocation": {""}}},
		{path: "customAllocationDefinition.webhookUrl", want: `"https://allocate.example/hook"`,
			rest:  `{"allocationPolicy":"custom"}`,
			flags: []string{"--webhook", "https://allocate.example/hook"},
			form:  url.Values{"allocation": {"custom"}, "webhook": {"https://allocate.example/hook"}},
			clear: []string{"--webhook", ""}, empty: url.Values{"allocation": {""}}},
		{path: "customAllocationDefinition.apiVersion", want: `"2026-01-01"`,
			rest:  `{"allocationPolicy":"custom","customAllocationDefinition":{"webhookUrl":"https://allocate.example/hook"}}`,
			flags: []string{"--webhook", "https://allocate.example/hook", "--webhook-api-version", "2026-01-01"},
			form: url.Values{"allocation": {"custom"}, "webhook": {"https://allocate.example/hook"},
				"webhookVersion": {"2026-01-01"}},
			clear: []string{"--webhook-api-version", ""}, empty: url.Values{"webhookVersion": {""}}},
		{path: "credentialPolicyName", want: `"default"`, flags: []string{"--credential-policy", "default"},
			form:  url.Values{"credential": {"default"}},
			clear: []string{"--credential-policy", ""}, empty: url.Values{"credential": {""}}},
		{path: "parentDeviceId", want: `"gateway"`, flags: []string{"--parent", "gateway"},
			form:  url.Values{"parent": {"gateway"}},
			clear: []string{"--parent", ""}, empty: url.Values{"parent": {""}}},
	}
}

func (d *doors) enrollmentFields() []doorCase {
	certificates := map[string]string{}
	thumbprints := map[string]string{}
	for _, name := range []string{"device", "next"} {
		text, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
			CommonName: name, KeyType: credential.EC256, NotBefore: time.Now().Add(-time.Hour),
			Validity: 24 * time.Hour})
		if err != nil {
			d.t.Fatal(err)
		}
		certificates[name], thumbprints[name] = string(text), thumbprintOf(d.t, text)
	}
	public := tpm2.RSAEKTemplate
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA,
		&tpm2.TPM2BPublicKeyRSA{Buffer: bytes.Repeat([]byte{0xff}, 256)})
	endorsement := base64.StdEncoding.EncodeToString(tpm2.Marshal(tpm2.New2B(public)))
	device, next := d.file("device.pem", certificates["device"]), d.file("next.pem", certificates["next"])
	const clients = "attestation.x509.clientCertificates."
	byCertificate := `{"attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` +
		quoteJSON(certificates["device"]) + `}}}}}`
	byTPM := `{"attestation":{"type":"tpm","tpm":{"endorsementKey":"` + endorsement + `"}}}`
	return append(commonFields(), []doorCase{
		{path: "deviceId", want: `"pump-7"`, flags: []string{"--device-id", "pump-7"},
			form:  url.Values{"deviceId": {"pump-7"}},
			clear: []string{"--device-id", ""}, empty: url.Values{"deviceId": {""}}},
		{path: "optionalDeviceInformation", want: `{"made":["Lyon",2026]}`, flags: []string{"--device-information",
			`{"made":["Lyon",2026]}`},
			form:  url.Values{"deviceInformation": {`{"made":["Lyon",2026]}`}},
			clear: []string{"--device-information", ""}, empty: url.Values{"deviceInformation": {""}}},
		{path: clients + "primary.certificate", want: quoteJSON(certificates["device"]), own: true,
			read: clients + "primary.info.sha256Thumbprint", seen: quoteJSON(thumbprints["device"]),
			rest:  `{"attestation":{"type":"x509"}}`,
			flags: []string{"--x509", device},
			form:  url.Values{"mechanism": {"x509"}, "primary": {certificates["device"]}}},
		{path: clients + "secondary.certificate", want: quoteJSON(certificates["next"]), own: true,
			read: clients + "secondary.info.sha256Thumbprint", seen: quoteJSON(thumbprints["next"]),
			rest: byCertificate, flags: []string{"--x509", device, "--x509-secondary", next},
			form: url.Values{"mechanism": {"x509"}, "primary": {certificates["device"]},
				"secondary": {certificates["next"]}},
			clear: []string{"--x509-secondary", ""}, empty: url.Values{"removeSecondary": {"yes"}}},
		{path: "attestation.tpm.endorsementKey", want: quoteJSON(endorsement), own: true,
			rest:  `{"attestation":{"type":"tpm"}}`,
			flags: []string{"--tpm", endorsement},
			form:  url.Values{"mechanism": {"tpm"}, "endorsementKey": {endorsement}}},
		{path: "attestation.tpm.storageRootKey", want: quoteJSON(endorsement), own: true, rest: byTPM,
			flags: []string{"--tpm", endorsement, "--tpm-storage-root-key", endorsement},
			form:  url.Values{"mechanism": {"tpm"}, "endorsementKey": {endorsement}, "storageRootKey": {endorsement}},
			clear: []string{"--tpm-storage-root-key", ""}, empty: url.Values{"storageRootKey": {""}}},
	}...)
}

func (d *doors) groupFields() []doorCase {
	factory, next := authorityPEM(d.t, "factory"), authorityPEM(d.t, "next")
	factoryFile, nextFile := d.file("factory.pem", factory), d.file("next-ca.pem", next)
	const signers, references = "attestation.x509.signingCertificates.", "attestation.x509.caReferences."
	return append(commonFields(), []doorCase{
		{path: "replaceExistingDevices", want: "true", flags: []string{"--replace-existing-devices"},
			form:  url.Values{"replace": {"yes"}},
			clear: []string{"--replace-existing-devices=false"}, empty: url.Values{"replace": nil}},
		{path: signers + "primary.certificate", want: quoteJSON(factory), own: true,
			read: signers + "primary.info.sha256Thumbprint", seen: quoteJSON(thumbprintOf(d.t, []byte(factory))),
			rest:  `{"attestation":{"type":"x509"}}`,
			flags: []string{"--x509", factoryFile}, form: url.Values{"mechanism": {"x509"}, "primary": {factory}}},
		{path: signers + "secondary.certificate", want: quoteJSON(next), own: true,
			read: signers + "secondary.info.sha256Thumbprint", seen: quoteJSON(thumbprintOf(d.t, []byte(next))),
			rest: `{"attestation":{"type":"x509","x509":{"signingCertificates":{"primary":{"certificate":` +
				quoteJSON(factory) + `}}}}}`,
			flags: []string{"--x509", factoryFile, "--x509-secondary", nextFile},
			form:  url.Values{"mechanism": {"x509"}, "primary": {factory}, "secondary": {next}},
			clear: []string{"--x509-secondary", ""}, empty: url.Values{"removeSecondary": {"yes"}}},
		{path: references + "primary", want: `"first"`, own: true, rest: `{"attestation":{"type":"x509"}}`,
			flags: []string{"--authority", "first"}, form: url.Values{"mechanism": {"x509"}, "authority": {"first"}}},
		{path: references + "secondary", want: `"second"`, own: true,
			rest:  `{"attestation":{"type":"x509","x509":{"caReferences":{"primary":"first"}}}}`,
			flags: []string{"--authority", "first", "--authority-secondary", "second"},
			form:  url.Values{"mechanism": {"x509"}, "authority": {"first"}, "authoritySecondary": {"second"}},
			clear: []string{"--authority-secondary", ""}, empty: url.Values{"authoritySecondary": {""}}},
	}...)
}

func thumbprintOf(t *testing.T, certificate []byte) string {
	t.Helper()
	parsed, err := credential.ParseCertificates(certificate)
	if err != nil {
		t.Fatal(err)
	}
	_, thumbprint := credential.Thumbprints(parsed[0])
	return thumbprint
}

func quoteJSON(text string) string {
	encoded, _ := json.Marshal(text) // a text
	return string(encoded)
}
