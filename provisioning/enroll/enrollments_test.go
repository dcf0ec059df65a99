package enroll

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

func TestEnrollmentsThatAreRefused(t *testing.T) {
	h := newFixture(t, "hub.local", "east.local")
	device := valid(t, "d1")
	_, key, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "d1",
		KeyType: credential.EC256, NotBefore: noon, Validity: 1})
	if err != nil {
		t.Fatal(err)
	}
	long := []byte(`{"x":"` + strings.Repeat("x", 100) + `"}`)
	for _, c := range []struct {
		name        string
		change      func(*Enrollment)
		says        string
		field, path string // of Info
	}{
		{"empty id", func(e *Enrollment) { e.RegistrationID = "" }, "empty", "registrationId", ""},
		{"long id", func(e *Enrollment) { e.RegistrationID = strings.Repeat("x", 129) }, "128", "registrationId", ""},
		{"id with a space", func(e *Enrollment) { e.RegistrationID = "a b" }, "character", "registrationId", ""},
		{"id with an end that is not allowed", func(e *Enrollment) { e.RegistrationID = "a." }, "end",
			"registrationId", ""},
		{"no mechanism", func(e *Enrollment) { e.Attestation = AttestationMechanism{} }, "x509", "attestation", ""},
		{"unknown mechanism", func(e *Enrollment) { e.Attestation.Type = "trust" }, "x509", "attestation", ""},
		{"TPM without a key", func(e *Enrollment) { e.Attestation = AttestationMechanism{Type: "tpm"} },
			"endorsementKey is missing", "attestation", ""},
		{"TPM with an unreadable key", func(e *Enrollment) {
			e.Attestation = AttestationMechanism{Type: "tpm", TPM: &TPMAttestation{EndorsementKey: "AAAA"}}
		}, "not a TPM2B_PUBLIC", "attestation", ""},
		{"no certificates", func(e *Enrollment) { e.Attestation.X509 = nil }, "clientCertificates", "primary", ""},
		{"no primary", func(e *Enrollment) { e.Attestation.X509.ClientCertificates.Primary = nil }, "primary",
			"primary", ""},
		{"signing certificates too", func(e *Enrollment) {
			own := &X509Certificate{Certificate: device.PEM}
			e.Attestation.X509.SigningCertificates = &X509Certificates{Secondary: own}
		}, "the device's own certificate alone", "attestation", ""},
		{"an authority too", func(e *Enrollment) { e.Attestation.X509.CAReferences = &X509CAReferences{Primary: "x"} },
			"the device's own certificate alone", "attestation", ""},
		{"unreadable", func(e *Enrollment) { e.Attestation.X509.ClientCertificates.Primary.Certificate = "hello" },
			"no certificate", "primary", ""},
		{"unreadable secondary", func(e *Enrollment) {
			e.Attestation.X509.ClientCertificates.Secondary = &X509Certificate{Certificate: "hello"}
		}, "no certificate", "secondary", ""},
		{"private key",
			func(e *Enrollment) { e.Attestation.X509.ClientCertificates.Primary.Certificate = string(key) },
			"private key", "primary", ""},
		{"a bundle", func(e *Enrollment) {
			e.Attestation.X509.ClientCertificates.Primary.Certificate = device.PEM + device.PEM
		}, "2 certificates", "primary", ""},
		{"info without certificate", func(e *Enrollment) {
			info := &credential.X509CertificateInfo{SHA256Thumbprint: "AA"}
			e.Attestation.X509.ClientCertificates.Primary = &X509Certificate{Info: info}
		}, "missing", "primary", ""},
		{"status", func(e *Enrollment) { e.ProvisioningStatus = "maybe" }, "enabled or disabled",
			"provisioningStatus", ""},
		{"hub that is not linked", func(e *Enrollment) { e.HubHostName = "elsewhere" }, "hub.local", "hub", ""},
		{"two hubs", func(e *Enrollment) { e.HubHostName, e.Hubs = "hub.local", []string{"East.local"} },
			`iotHubHostName is "hub.local", and it is not among iotHubs, East.local`, "hub", ""},
		{"policy", func(e *Enrollment) { e.AllocationPolicy = "random" }, "hashed, geoLatency", "hub", ""},
		{"static with two hubs", func(e *Enrollment) {
			e.AllocationPolicy, e.Hubs = allocation.Static, []string{"hub.local", "HUB.local"}
		}, "one hub", "hub", ""},
		{"tags that are no object",
			func(e *Enrollment) { e.InitialTwin = &linkedhub.InitialTwin{Tags: []byte(`[1]`)} }, "JSON object",
			"initialTwin", "tags"},
		{"desired properties that are no object", func(e *Enrollment) {
			e.InitialTwin = &linkedhub.InitialTwin{Properties: linkedhub.InitialTwinProperties{Desired: []byte(`1`)}}
		}, "JSON object", "initialTwin", "properties.desired"},
		{"device id that the hub would refuse", func(e *Enrollment) { e.DeviceID = strings.Repeat("x", 101) },
			"id is too long", "deviceId", ""},
		{"device id and twin that the hub would refuse", func(e *Enrollment) {
			e.DeviceID, e.InitialTwin = strings.Repeat("x", 101), &linkedhub.InitialTwin{Tags: long}
		}, "id is too long", "deviceId", ""},
		{"tags that the hub would refuse", func(e *Enrollment) {
			e.InitialTwin = &linkedhub.InitialTwin{Tags: long,
				Properties: linkedhub.InitialTwinProperties{Desired: long}}
		}, "tags are too long", "initialTwin", "tags"},
		{"desired properties that the hub would refuse", func(e *Enrollment) {
			e.InitialTwin = &linkedhub.InitialTwin{Tags: []byte(`{}`),
				Properties: linkedhub.InitialTwinProperties{Desired: long}}
		}, "desired properties are too long", "initialTwin", "properties.desired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			enrollment := device.enrollment()
			c.change(&enrollment)
			for name, write := range map[string]func() (Enrollment, error){
				"put":    func() (Enrollment, error) { return h.enrollments.Put(context.Background(), enrollment, "") },
				"create": func() (Enrollment, error) { return h.enrollments.Create(context.Background(), enrollment) },
			} {
				_, err := write()
				problem := fault.From(err)
				if problem.Code.Status() != 400 || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("%s is answered %v, want a fault 400 that says %q", name, err, c.says)
				}
				if problem.Info["field"] != c.field || problem.Info["path"] != c.path {
					t.Errorf("%s is answered with info %v, want field %q and path %q", name, problem.Info, c.field,
						c.path)
				}
			}
		})
	}
	if count, err := h.enrollments.Count(context.Background()); count != 0 || err != nil {
		t.Errorf("%d enrollments were stored, error %v", count, err)
	}
}

func TestEnrollmentsInPages(t *testing.T) {
	h := newFixture(t, "hub.local")
	device := valid(t, "x")
	for i := range 25 {
		enrollment := device.enrollment()
		enrollment.RegistrationID = fmt.Sprintf("Page-%02d", i)
		h.enroll(enrollment)
	}
	var seen []string
	next := ""
	for {
		page, after, err := h.enrollments.List(context.Background(), "page-", next, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, enrollment := range page {
			seen = append(seen, enrollment.RegistrationID)
		}
		if next = after; next == "" {
			break
		}
	}
	if len(seen) != 25 || seen[0] != "Page-00" || seen[24] != "Page-24" {
		t.Errorf("paged through %v", seen)
	}
}

func TestACertificateFileWithMore(t *testing.T) {
	device, authority := valid(t, "d1"), valid(t, "Fleet-CA")
	report, err := Inspect([]byte("Bag Attributes\n"+device.PEM+authority.PEM), noon)
	if err != nil {
		t.Fatal(err)
	}
	if report.RegistrationID != "d1" || report.PEM != device.PEM || len(report.Warnings) != 1 ||
		report.Warnings[0].Code != "several" {
		t.Errorf("reports %+v", report)
	}
	if len(report.Others) != 1 || report.Others[0].SubjectName != "CN=Fleet-CA" {
		t.Errorf("the others are %+v", report.Others)
	}
	// The certificate alone is what can be enrolled.
	h := newFixture(t, "hub.local")
	enrollment := device.enrollment()
	enrollment.Attestation.X509.ClientCertificates.Primary.Certificate = report.PEM
	if written := h.enroll(enrollment); *written.Attestation.X509.ClientCertificates.Primary.Info != report.Info {
		t.Errorf("enrolled as %+v, reported as %+v", written.Attestation.X509.ClientCertificates.Primary.Info,
			report.Info)
	}
}
