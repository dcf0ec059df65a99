package provisioning

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

// checkRegistrationID holds an id against the rules of Azure's documentation
// (iot-dps concepts-service): up to 128 letters, digits and - . _ : with a
// letter, digit or dash at the end.
func checkRegistrationID(id string) error {
	switch {
	case id == "":
		return fault.New(fault.InvalidRegistrationID, "The registration id is empty")
	case len(id) > 128:
		return fault.New(fault.InvalidRegistrationID, "The registration id has %d characters, the limit is 128", len(id))
	}
	for i := range len(id) {
		c := id[i]
		alphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alphanumeric && strings.IndexByte("-._:", c) < 0 {
			return fault.New(fault.InvalidRegistrationID,
				"The registration id %.128q has the character %q. Letters, digits, dash, full stop, underscore and colon are allowed", id, c)
		}
		if i == len(id)-1 && !alphanumeric && c != '-' {
			return fault.New(fault.InvalidRegistrationID, "The registration id %q ends with %q. It must end with a letter, a digit or a dash", id, c)
		}
	}
	return nil
}

// complete checks an enrollment that is to be written and fills in what its
// writer may leave out. prior is the one it replaces, nil for a new one.
// What is wrong names its field, as about says.
func (s *Service) complete(enrollment, prior *Enrollment) error {
	if err := checkRegistrationID(enrollment.RegistrationID); err != nil {
		return about("registrationId", err)
	}
	enrollment.detach()
	if prior != nil {
		enrollment.RegistrationID = prior.RegistrationID // the case of the first writing stays
	}
	switch enrollment.ProvisioningStatus {
	case "":
		enrollment.ProvisioningStatus = Enabled
	case Enabled, Disabled:
	default:
		return about("provisioningStatus", fault.New(fault.ArgumentInvalid, "provisioningStatus is %.64q. It is enabled or disabled", enrollment.ProvisioningStatus))
	}
	if enrollment.ReprovisionPolicy == nil {
		enrollment.ReprovisionPolicy = &ReprovisionPolicy{UpdateHubAssignment: true, MigrateDeviceData: true}
	}
	if info := bytes.TrimSpace(enrollment.OptionalDeviceInformation); string(info) == "null" {
		enrollment.OptionalDeviceInformation = nil
	}
	var before *X509Attestation
	if prior != nil {
		before = prior.Attestation.X509
	}
	if err := completeAttestation(&enrollment.Attestation, before); err != nil {
		return err
	}
	if err := s.completeAllocation(enrollment); err != nil {
		return about("hub", err)
	}
	return s.checkAdmission(enrollment)
}

// about notes in a fault which field of an enrollment it is about, for forms:
// Info["field"] is registrationId, provisioningStatus, attestation, primary,
// secondary, hub, deviceId or initialTwin.
func about(field string, err error) error { return note(err, "field", field) }

// aboutTwin notes that a fault is about a part of the initial twin too:
// Info["path"] is tags or properties.desired.
func aboutTwin(path string, err error) error { return note(about("initialTwin", err), "path", path) }

func note(err error, name, value string) error {
	var problem *fault.Error
	if errors.As(err, &problem) {
		if problem.Info == nil {
			problem.Info = make(map[string]string)
		}
		problem.Info[name] = value
	}
	return err
}

// detach gives the enrollment its own copy of what completing it changes, so
// that the caller's stays as it was written.
func (e *Enrollment) detach() {
	if x := e.Attestation.X509; x != nil && x.ClientCertificates != nil {
		certificates := *x.ClientCertificates
		for _, certificate := range []**X509Certificate{&certificates.Primary, &certificates.Secondary} {
			if *certificate != nil {
				own := **certificate
				*certificate = &own
			}
		}
		e.Attestation.X509 = &X509Attestation{ClientCertificates: &certificates}
	}
	if e.InitialTwin != nil {
		twin := *e.InitialTwin
		e.InitialTwin = &twin
	}
}

func completeAttestation(mechanism *AttestationMechanism, before *X509Attestation) error {
	switch mechanism.Type {
	case "x509":
	case "":
		return about("attestation", fault.New(fault.ArgumentInvalid, "attestation.type is missing. It is x509"))
	case "symmetricKey", "tpm":
		return about("attestation", fault.New(fault.ArgumentInvalid, "attestation.type %s is not served by this version of Berth. Use x509", mechanism.Type))
	default:
		return about("attestation", fault.New(fault.ArgumentInvalid, "attestation.type is %.64q. It is x509", mechanism.Type))
	}
	if mechanism.X509 == nil || mechanism.X509.ClientCertificates == nil {
		return about("primary", fault.New(fault.ArgumentInvalid, "attestation.x509.clientCertificates is missing. An individual enrollment has the device's own certificate there"))
	}
	var earlier X509Certificates
	if before != nil && before.ClientCertificates != nil {
		earlier = *before.ClientCertificates
	}
	certificates := mechanism.X509.ClientCertificates
	if err := completeCertificate("primary", certificates.Primary, earlier.Primary); err != nil {
		return about("primary", err)
	}
	if certificates.Primary == nil || certificates.Primary.Info == nil {
		return about("primary", fault.New(fault.ArgumentInvalid, "attestation.x509.clientCertificates.primary has no certificate"))
	}
	if err := completeCertificate("secondary", certificates.Secondary, earlier.Secondary); err != nil {
		return about("secondary", err)
	}
	if certificates.Secondary != nil && certificates.Secondary.Info == nil {
		certificates.Secondary = nil
	}
	return nil
}

// completeCertificate replaces a certificate by what it says: what comes out of
// the service is never the certificate. An enrollment that was read, changed
// and is written back carries only what it says; then it must say the same.
func completeCertificate(which string, certificate, before *X509Certificate) error {
	if certificate == nil {
		return nil
	}
	if certificate.Certificate == "" {
		if certificate.Info == nil {
			return nil
		}
		if before == nil || before.Info == nil || !strings.EqualFold(before.Info.SHA256Thumbprint, certificate.Info.SHA256Thumbprint) {
			return fault.New(fault.ArgumentInvalid, "The %s certificate is missing: info alone is enough only for the certificate that is enrolled already", fault.Word(which))
		}
		certificate.Info = before.Info
		return nil
	}
	parsed, err := credential.ParseCertificates([]byte(certificate.Certificate))
	if err != nil {
		return fault.New(fault.ArgumentInvalid, "The %s certificate is refused: %v", fault.Word(which), err)
	}
	if len(parsed) > 1 {
		return fault.New(fault.ArgumentInvalid, "The %s certificate is refused: this holds %d certificates. An individual enrollment takes the device's own certificate alone, without its chain", fault.Word(which), len(parsed))
	}
	*certificate = X509Certificate{Info: describe(parsed[0])}
	return nil
}

func (s *Service) completeAllocation(enrollment *Enrollment) error {
	hosts := s.LinkedHubs()
	for _, name := range append(slices.Clone(enrollment.Hubs), enrollment.HubHostName) {
		if name != "" && !slices.ContainsFunc(hosts, func(host string) bool { return strings.EqualFold(host, name) }) {
			return fault.New(fault.ArgumentInvalid, "The hub %.253q is not linked to this service. Linked are: %s", name, strings.Join(hosts, ", "))
		}
	}
	switch enrollment.AllocationPolicy {
	case "", Hashed:
	case Static:
		if enrollment.HubHostName == "" && len(enrollment.Hubs) != 1 {
			return fault.New(fault.ArgumentInvalid, "allocationPolicy static needs one hub, in iotHubs or iotHubHostName")
		}
	default:
		return fault.New(fault.ArgumentInvalid, "allocationPolicy is %.64q. This version of Berth knows hashed and static", enrollment.AllocationPolicy)
	}
	return nil
}

// checkAdmission lets every hub that the device may go to look at what it would
// be given, so that mistakes show when the enrollment is written and not when
// the device comes.
func (s *Service) checkAdmission(enrollment *Enrollment) error {
	if twin := enrollment.InitialTwin; twin != nil {
		for _, part := range []struct {
			path string
			json *json.RawMessage
		}{{"tags", &twin.Tags}, {"properties.desired", &twin.Properties.Desired}} {
			switch trimmed := bytes.TrimSpace(*part.json); {
			case len(trimmed) == 0 || string(trimmed) == "null":
				*part.json = nil
			case trimmed[0] != '{':
				return aboutTwin(part.path, fault.New(fault.ArgumentInvalid, "%s must be a JSON object", "initialTwin."+part.path))
			}
		}
	}
	admission := enrollment.admission()
	for _, hub := range s.candidates(*enrollment) {
		if err := hub.Check(admission); err != nil {
			return refusedPart(hub, admission, err)
		}
	}
	return nil
}

// refusedPart notes in a hub's refusal what it is about. Each part is shown to
// the hub without the others: alone, without a twin, it is the device's id.
func refusedPart(hub Hub, admission Admission, refusal error) error {
	twin := admission.Twin
	admission.Twin = nil
	if err := hub.Check(admission); err != nil || twin == nil {
		return about("deviceId", refusal)
	}
	admission.Twin = &InitialTwin{Tags: twin.Tags}
	if err := hub.Check(admission); err != nil {
		return aboutTwin("tags", err)
	}
	admission.Twin = &InitialTwin{Properties: twin.Properties}
	if err := hub.Check(admission); err != nil {
		return aboutTwin("properties.desired", err)
	}
	return about("initialTwin", refusal)
}
