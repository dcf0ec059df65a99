package provisioning

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
)

func TestEnrollmentIsWrittenReadAndDeleted(t *testing.T) {
	h := newHouse(t, "hub.local")
	ctx := context.Background()
	device := valid(t, "Device-A")
	created, err := h.CreateEnrollment(ctx, device.enrollment())
	if err != nil {
		t.Fatal(err)
	}
	if created.ProvisioningStatus != Enabled || created.ReprovisionPolicy == nil || created.Attestation.X509.ClientCertificates.Primary.Info.SubjectName != "CN=Device-A" {
		t.Errorf("created %+v", created)
	}
	if _, err := h.CreateEnrollment(ctx, device.enrollment()); !errors.Is(err, fault.EnrollmentConflict) {
		t.Errorf("creating it again answers %v", err)
	}
	h.reopen()
	read, err := h.Enrollment(ctx, "DEVICE-a") // ids have no case
	if err != nil || read.RegistrationID != "Device-A" || read.ETag != created.ETag {
		t.Fatalf("read %+v, error %v", read, err)
	}
	h.mustRegister(device)
	if read, err = h.Enrollment(ctx, "Device-A"); err != nil || read.RegistrationState == nil || read.RegistrationState.AssignedHub != "hub.local" {
		t.Errorf("after registering it reads %+v, error %v", read, err)
	}

	// What was read can be written back: the certificate stays.
	read.ProvisioningStatus = Disabled
	updated, err := h.PutEnrollment(ctx, read, read.ETag)
	if err != nil || updated.ETag == read.ETag || !updated.CreatedDateTimeUTC.Equal(created.CreatedDateTimeUTC.Time) {
		t.Fatalf("updated to %+v, error %v", updated, err)
	}
	if _, err := h.PutEnrollment(ctx, read, read.ETag); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("writing with a stale ETag answers %v", err)
	}
	if err := h.DeleteEnrollment(ctx, "Device-A", read.ETag); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("deleting with a stale ETag answers %v", err)
	}
	if err := h.DeleteEnrollment(ctx, "Device-A", `"*"`); err != nil {
		t.Error(err)
	}
	if _, err := h.Enrollment(ctx, "Device-A"); !errors.Is(err, fault.EnrollmentNotFound) {
		t.Errorf("reading it then answers %v", err)
	}
	if _, err := h.PutEnrollment(ctx, device.enrollment(), "*"); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("updating what is gone answers %v", err)
	}

	// The registration outlives the enrollment, as in Azure.
	registration, err := h.Registration(ctx, "device-A")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.DeleteRegistration(ctx, "device-A", "bm90aGluZw=="); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("deleting the registration with another ETag answers %v", err)
	}
	if err := h.DeleteRegistration(ctx, "device-A", registration.ETag); err != nil {
		t.Error(err)
	}
	if _, err := h.Registration(ctx, "device-A"); !errors.Is(err, fault.RegistrationNotFound) {
		t.Errorf("reading the registration then answers %v", err)
	}
}

func TestEnrollmentsThatAreRefused(t *testing.T) {
	h := newHouse(t, "hub.local")
	device := valid(t, "d1")
	_, key, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "d1", KeyType: credential.EC256, NotBefore: noon, Validity: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*Enrollment)
		says   string
	}{
		{"empty id", func(e *Enrollment) { e.RegistrationID = "" }, "empty"},
		{"long id", func(e *Enrollment) { e.RegistrationID = strings.Repeat("x", 129) }, "128"},
		{"id with a space", func(e *Enrollment) { e.RegistrationID = "a b" }, "character"},
		{"id with an end that is not allowed", func(e *Enrollment) { e.RegistrationID = "a." }, "end"},
		{"no mechanism", func(e *Enrollment) { e.Attestation = AttestationMechanism{} }, "x509"},
		{"unknown mechanism", func(e *Enrollment) { e.Attestation.Type = "trust" }, "x509"},
		{"no certificates", func(e *Enrollment) { e.Attestation.X509 = nil }, "clientCertificates"},
		{"no primary", func(e *Enrollment) { e.Attestation.X509.ClientCertificates.Primary = nil }, "primary"},
		{"unreadable", func(e *Enrollment) { e.Attestation.X509.ClientCertificates.Primary.Certificate = "hello" }, "no certificate"},
		{"private key", func(e *Enrollment) { e.Attestation.X509.ClientCertificates.Primary.Certificate = string(key) }, "private key"},
		{"a bundle", func(e *Enrollment) {
			e.Attestation.X509.ClientCertificates.Primary.Certificate = device.PEM + device.PEM
		}, "2 certificates"},
		{"info without certificate", func(e *Enrollment) {
			e.Attestation.X509.ClientCertificates.Primary = &X509Certificate{Info: &X509CertificateInfo{SHA256Thumbprint: "AA"}}
		}, "missing"},
		{"status", func(e *Enrollment) { e.ProvisioningStatus = "maybe" }, "enabled or disabled"},
		{"hub that is not linked", func(e *Enrollment) { e.HubHostName = "elsewhere" }, "hub.local"},
		{"policy", func(e *Enrollment) { e.AllocationPolicy = "random" }, "hashed and static"},
		{"static without a hub", func(e *Enrollment) { e.AllocationPolicy = Static }, "one hub"},
		{"twin that is no object", func(e *Enrollment) { e.InitialTwin = &InitialTwin{Tags: []byte(`[1]`)} }, "JSON object"},
		{"what the hub would refuse", func(e *Enrollment) { e.DeviceID = strings.Repeat("x", 101) }, "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			enrollment := device.enrollment()
			c.change(&enrollment)
			_, err := h.PutEnrollment(context.Background(), enrollment, "")
			if fault.From(err).Code.Status() != 400 || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("answered %v, want a fault 400 that says %q", err, c.says)
			}
		})
	}
	if counts, _ := h.Counts(context.Background()); counts.Enrollments != 0 {
		t.Errorf("%d enrollments were stored", counts.Enrollments)
	}
}

func TestEnrollmentsInPages(t *testing.T) {
	h := newHouse(t, "hub.local")
	device := valid(t, "x")
	for i := range 25 {
		enrollment := device.enrollment()
		enrollment.RegistrationID = fmt.Sprintf("Page-%02d", i)
		h.enroll(enrollment)
	}
	var seen []string
	next := ""
	for {
		page, after, err := h.Enrollments(context.Background(), "page-", next, 10)
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
