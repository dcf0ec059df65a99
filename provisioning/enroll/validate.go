package enroll

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// CheckRegistrationID holds an id against the rules of Azure's documentation
// (iot-dps concepts-service): up to 128 letters, digits and - . _ : with a
// letter, digit or dash at the end.
func CheckRegistrationID(id string) error {
	switch {
	case id == "":
		return fault.New(fault.InvalidRegistrationID, "The registration id is empty")
	case utf8.RuneCountInString(id) > 128:
		return fault.New(fault.InvalidRegistrationID, "The registration id has %d characters, the limit is 128",
			utf8.RuneCountInString(id))
	}
	for i, c := range id {
		alphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alphanumeric && !strings.ContainsRune("-._:", c) {
			return fault.New(fault.InvalidRegistrationID,
				"The registration id %.128q has the character %q. Letters, digits, dash, full stop, underscore "+
					"and colon are allowed", id, c)
		}
		if i == len(id)-1 && !alphanumeric && c != '-' {
			return fault.New(fault.InvalidRegistrationID,
				"The registration id %q ends with %q. It must end with a letter, a digit or a dash", id, c)
		}
	}
	return nil
}

// complete checks an enrollment that is to be written and fills in what its
// writer may leave out. prior is the one it replaces, nil for a new one.
// What is wrong names its field in Info["field"]: registrationId, provisioningStatus,
// attestation, primary, secondary, hub, credentialPolicyName, deviceId,
// optionalDeviceInformation or initialTwin.
func (e *Enrollments) complete(enrollment, prior *Enrollment) error {
	if err := CheckRegistrationID(enrollment.RegistrationID); err != nil {
		return fault.About("registrationId", err)
	}
	enrollment.detach()
	if prior != nil {
		enrollment.RegistrationID = prior.RegistrationID // the case of the first writing stays
	}
	if info := bytes.TrimSpace(enrollment.OptionalDeviceInformation); string(info) == "null" {
		enrollment.OptionalDeviceInformation = nil
	}
	if err := linkedhub.CheckFree("optionalDeviceInformation", enrollment.OptionalDeviceInformation); err != nil {
		return fault.About("optionalDeviceInformation", err)
	}
	var before AttestationMechanism
	if prior != nil {
		before = prior.Attestation
	}
	if err := completeAttestation(&enrollment.Attestation, before); err != nil {
		return err
	}
	return e.completeSettings(enrollment, prior)
}

// completeSettings checks and completes what an individual enrollment and a group
// have in common. What is as it was in prior, the one that is replaced, is not judged
// anew: who disables an enrollment is not held up by a hub that is gone.
func (r rules) completeSettings(enrollment, prior *Enrollment) error {
	enrollment.ProvisioningStatus = Canonical(enrollment.ProvisioningStatus, Enabled, Disabled)
	switch enrollment.ProvisioningStatus {
	case "":
		enrollment.ProvisioningStatus = Enabled
	case Enabled, Disabled:
	default:
		return fault.About("provisioningStatus", fault.New(fault.ArgumentInvalid,
			"provisioningStatus must be enabled or disabled, not %.64q", enrollment.ProvisioningStatus))
	}
	if enrollment.ReprovisionPolicy == nil {
		enrollment.ReprovisionPolicy = &ReprovisionPolicy{UpdateHubAssignment: true, MigrateDeviceData: true}
	}
	if name := enrollment.CredentialPolicyName; name != "" && (prior == nil || name != prior.CredentialPolicyName) {
		if err := r.config.CheckPolicy(context.Background(), name); err != nil {
			return fault.About("credentialPolicyName", err)
		}
	}
	if prior == nil || !enrollment.Allocation().Equal(prior.Allocation()) {
		if err := r.checkAllocation(enrollment, prior); err != nil {
			return fault.About("hub", err)
		}
	}
	return r.checkAdmission(enrollment, prior)
}

// Canonical returns the known word that differs from a given one by its case alone, as
// Azure takes the words of its contract in any; else the word as it was given.
func Canonical[T ~string](given T, known ...T) T {
	for _, word := range known {
		if strings.EqualFold(string(given), string(word)) {
			return word
		}
	}
	return given
}

// detach gives the enrollment its own copy of what completing it changes, so
// that the caller's stays as it was written.
func (e *Enrollment) detach() {
	e.Attestation = e.Attestation.clone()
	if e.InitialTwin != nil {
		twin := *e.InitialTwin
		e.InitialTwin = &twin
	}
}

// checkAllocation checks how a hub is chosen, and spells the policy as the contract does.
func (r rules) checkAllocation(enrollment, prior *Enrollment) error {
	settings := enrollment.Allocation()
	var before *allocation.Settings
	if prior != nil {
		replaced := prior.Allocation()
		before = &replaced
	}
	err := r.config.Allocator.Check(&settings, before)
	enrollment.AllocationPolicy = settings.Policy
	return err
}

// checkAdmission lets every hub that the device may go to look at what it would
// be given, so that mistakes show when the enrollment is written and not when
// the device comes. What would have been given before as well is not shown.
func (r rules) checkAdmission(enrollment, prior *Enrollment) error {
	if enrollment.InitialTwin != nil {
		if err := enrollment.InitialTwin.Complete(); err != nil {
			return err
		}
	}
	admission := enrollment.sampleAdmission()
	if prior != nil && enrollment.Allocation().Equal(prior.Allocation()) {
		before := prior.sampleAdmission()
		if reflect.DeepEqual(admission, before) {
			return nil
		}
		if reflect.DeepEqual(admission.Twin, before.Twin) {
			admission.Twin = nil
		}
	}
	hubs := r.config.Allocator.Candidates(enrollment.Allocation())
	if enrollment.Allocation().Unplaced() {
		hubs = r.config.Links.All()
	}
	for _, hub := range hubs {
		if err := hub.Check(admission); err != nil {
			return locateRefusal(hub, admission, err)
		}
	}
	return nil
}

// sampleAdmission is what the device's hub is given, as far as that is known before
// the device comes: those with a TPM get their keys then.
func (e Enrollment) sampleAdmission() linkedhub.Admission {
	if e.Attestation.Type == TPM {
		e = e.WithHubKeys(make([]byte, 32), make([]byte, 32))
	}
	return e.Admission()
}

// locateRefusal notes in a hub's refusal what it is about. Each part is shown to
// the hub without the others: alone, without a twin, it is the device's id.
func locateRefusal(hub linkedhub.Hub, admission linkedhub.Admission, refusal error) error {
	twin := admission.Twin
	admission.Twin = nil
	if err := hub.Check(admission); err != nil || twin == nil {
		return fault.About("deviceId", refusal)
	}
	admission.Twin = &linkedhub.InitialTwin{Tags: twin.Tags}
	if err := hub.Check(admission); err != nil {
		return linkedhub.AboutTwin("tags", err)
	}
	admission.Twin = &linkedhub.InitialTwin{Properties: twin.Properties}
	if err := hub.Check(admission); err != nil {
		return linkedhub.AboutTwin("properties.desired", err)
	}
	return fault.About("initialTwin", refusal)
}
