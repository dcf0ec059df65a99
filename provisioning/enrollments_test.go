package provisioning

import (
	"context"
	"errors"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
)

func TestEnrollmentIsWrittenReadAndDeleted(t *testing.T) {
	h := newFixture(t, "hub.local")
	ctx := context.Background()
	device := valid(t, "Device-A")
	created, err := h.Enrollments().Create(ctx, device.enrollment())
	if err != nil {
		t.Fatal(err)
	}
	if created.ProvisioningStatus != enroll.Enabled || created.ReprovisionPolicy == nil ||
		created.Attestation.X509.ClientCertificates.Primary.Info.SubjectName != "CN=Device-A" {
		t.Errorf("created %+v", created)
	}
	if _, err := h.Enrollments().Create(ctx, device.enrollment()); !errors.Is(err, fault.EnrollmentConflict) {
		t.Errorf("creating it again answers %v", err)
	}
	h.reopen()
	read, err := h.Enrollments().Get(ctx, "DEVICE-a") // ids have no case
	if err != nil || read.RegistrationID != "Device-A" || read.ETag != created.ETag {
		t.Fatalf("read %+v, error %v", read, err)
	}
	h.mustRegister(device)
	if read, err = h.Enrollments().Get(ctx, "Device-A"); err != nil || read.RegistrationState == nil ||
		read.RegistrationState.AssignedHub != "hub.local" {
		t.Errorf("after registering it reads %+v, error %v", read, err)
	}

	// What was read can be written back: the certificate stays.
	read.ProvisioningStatus = enroll.Disabled
	updated, err := h.Enrollments().Put(ctx, read, read.ETag)
	if err != nil || updated.ETag == read.ETag || !updated.CreatedDateTimeUTC.Equal(created.CreatedDateTimeUTC.Time) {
		t.Fatalf("updated to %+v, error %v", updated, err)
	}
	if _, err := h.Enrollments().Put(ctx, read, read.ETag); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("writing with a stale ETag answers %v", err)
	}
	if err := h.Enrollments().Delete(ctx, "Device-A", read.ETag); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("deleting with a stale ETag answers %v", err)
	}
	if err := h.Enrollments().Delete(ctx, "Device-A", `"*"`); err != nil {
		t.Error(err)
	}
	if _, err := h.Enrollments().Get(ctx, "Device-A"); !errors.Is(err, fault.EnrollmentNotFound) {
		t.Errorf("reading it then answers %v", err)
	}
	if _, err := h.Enrollments().Put(ctx, device.enrollment(), "*"); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("updating what is gone answers %v", err)
	}

	// The registration outlives the enrollment, as in Azure.
	registration, err := h.Registrations().Get(ctx, "device-A")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Registrations().Delete(ctx, "device-A", "bm90aGluZw=="); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("deleting the registration with another ETag answers %v", err)
	}
	if err := h.Registrations().Delete(ctx, "device-A", registration.ETag); err != nil {
		t.Error(err)
	}
	if _, err := h.Registrations().Get(ctx, "device-A"); !errors.Is(err, fault.RegistrationNotFound) {
		t.Errorf("reading the registration then answers %v", err)
	}
}
