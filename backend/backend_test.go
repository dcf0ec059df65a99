package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
)

func enrollment(t *testing.T, id string) enroll.Enrollment {
	t.Helper()
	certificate, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
		CommonName: id, KeyType: credential.EC256, NotBefore: time.Now().Add(-time.Hour), Validity: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return enroll.Enrollment{
		RegistrationID: id,
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "x509", X509: &enroll.X509Attestation{
			ClientCertificates: &enroll.X509Certificates{
				Primary: &enroll.X509Certificate{Certificate: string(certificate)}}}}},
	}
}

// expect checks an error's code, and that it came with what a person needs.
func expect(t *testing.T, err error, want fault.Code) {
	t.Helper()
	var problem *fault.Error
	if !errors.As(err, &problem) || problem.Code != want || problem.Message == "" {
		t.Errorf("the error is %v, want %v", err, want)
	}
}

func TestEnrollments(t *testing.T) {
	dps := berthtest.Start(t).Provisioning
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	created, err := dps.CreateEnrollment(ctx, enrollment(t, "d1"))
	if err != nil || created.ETag == "" ||
		created.Attestation.X509.ClientCertificates.Primary.Info.SubjectName != "CN=d1" {
		t.Fatalf("created %+v, error %v", created, err)
	}
	_, err = dps.CreateEnrollment(ctx, created)
	expect(t, err, fault.EnrollmentConflict)

	changed := created
	changed.ProvisioningStatus = enroll.Disabled
	if changed, err = dps.PutEnrollment(ctx, changed, created.ETag); err != nil ||
		changed.ProvisioningStatus != enroll.Disabled || changed.ETag == created.ETag {
		t.Fatalf("changed it to %+v, error %v", changed, err)
	}
	_, err = dps.PutEnrollment(ctx, changed, created.ETag)
	expect(t, err, fault.PreconditionFailed)
	expect(t, dps.DeleteEnrollment(ctx, "d1", created.ETag), fault.PreconditionFailed)

	for _, id := range []string{"d2", "d3", "other"} {
		if _, err := dps.PutEnrollment(ctx, enrollment(t, id), ""); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	for after := ""; ; {
		page, next, err := dps.Enrollments(ctx, "d", after, 2)
		if err != nil || len(page) > 2 {
			t.Fatalf("a page of %d, error %v", len(page), err)
		}
		for _, e := range page {
			seen = append(seen, e.RegistrationID)
		}
		if after = next; next == "" {
			break
		}
	}
	if fmt.Sprint(seen) != "[d1 d2 d3]" {
		t.Errorf("the pages have %v", seen)
	}
	if err := dps.DeleteEnrollment(ctx, "d1", changed.ETag); err != nil {
		t.Error(err)
	}
	_, err = dps.Enrollment(ctx, "d1")
	expect(t, err, fault.EnrollmentNotFound)
	_, err = dps.Registration(ctx, "d1")
	expect(t, err, fault.RegistrationNotFound)
	expect(t, dps.DeleteRegistration(ctx, "d1", ""), fault.RegistrationNotFound)
	_, err = dps.Enrollment(ctx, "a/b?c")
	expect(t, err, fault.InvalidRegistrationID)
	if records, next, err := dps.Registrations(ctx, "", "", 0); err != nil || len(records) != 0 || next != "" {
		t.Errorf("the registrations are %v, %q, error %v", records, next, err)
	}
	if attempts, err := dps.Attempts(ctx, attempts.Filter{RegistrationID: "d1", Refused: true, Max: 5}); err != nil ||
		len(attempts) != 0 {
		t.Errorf("the attempts are %v, error %v", attempts, err)
	}
	if summary, err := dps.Summary(ctx); err != nil || summary.Enrollments != 3 || summary.Host != "localhost" ||
		len(summary.LinkedHubs) != 1 {
		t.Errorf("the summary is %+v, error %v", summary, err)
	}
}

func TestDevicesAndTwins(t *testing.T) {
	iot := berthtest.Start(t).Hub
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	const id = "a#b/c?d%" // what a path must escape; the slash is refused
	_, err := iot.CreateDevice(ctx, identity.Device{DeviceID: id})
	expect(t, err, fault.ArgumentInvalid)
	const odd = "a#b?d%25"
	created, err := iot.CreateDevice(ctx, identity.Device{DeviceID: odd})
	if err != nil || created.DeviceID != odd || *created.Authentication.SymmetricKey.PrimaryKey == "" {
		t.Fatalf("created %+v, error %v", created, err)
	}
	_, err = iot.CreateDevice(ctx, identity.Device{DeviceID: odd})
	expect(t, err, fault.DeviceAlreadyExists)
	changed := created
	changed.Status = "disabled"
	if changed, err = iot.UpdateDevice(ctx, changed, ""); err != nil || changed.Status != "disabled" {
		t.Fatalf("changed it to %+v, error %v", changed, err)
	}
	_, err = iot.UpdateDevice(ctx, changed, created.ETag)
	expect(t, err, fault.PreconditionFailed)

	twin, err := iot.PatchTwin(ctx, odd, json.RawMessage(`{"tags":{"floor":1},"properties":{"desired":{"every":5}}}`),
		"")
	if err != nil || twin.Tags.Get("floor").String() != "1" || twin.Properties.Desired.Get("every").String() != "5" {
		t.Fatalf("the twin is %+v, error %v", twin, err)
	}
	if twin, err = iot.ReplaceTwin(ctx, odd, json.RawMessage(`{"properties":{"desired":{"other":true}}}`),
		twin.ETag); err != nil || twin.Tags.Len() != 0 || twin.Properties.Desired.Get("every").String() != "" {
		t.Errorf("the twin is %+v, error %v", twin, err)
	}
	if read, err := iot.Twin(ctx, odd); err != nil || read.ETag != twin.ETag {
		t.Errorf("the twin is %+v, error %v", read, err)
	}
	if page, next, err := iot.Devices(ctx, "a#", "", 10); err != nil || len(page) != 1 || next != "" {
		t.Errorf("the devices are %v, %q, error %v", page, next, err)
	}
	if statistics, err := iot.RegistryStatistics(ctx); err != nil ||
		statistics != (identity.Statistics{TotalDeviceCount: 1, DisabledDeviceCount: 1}) {
		t.Errorf("the statistics are %+v, error %v", statistics, err)
	}
	if statistics, err := iot.ServiceStatistics(ctx); err != nil || statistics.ConnectedDeviceCount != 0 {
		t.Errorf("the statistics are %+v, error %v", statistics, err)
	}
	expect(t, iot.DeleteDevice(ctx, odd, created.ETag), fault.PreconditionFailed)
	if err := iot.DeleteDevice(ctx, odd, changed.ETag); err != nil {
		t.Error(err)
	}
	_, err = iot.Device(ctx, odd)
	expect(t, err, fault.DeviceNotFound)
	var problem *fault.Error
	if errors.As(err, &problem); problem.TrackingID == "" {
		t.Errorf("%+v has no tracking id", problem)
	}
}

func TestConnectionStrings(t *testing.T) {
	for _, text := range []string{
		"", "nonsense", "HostName=h;SharedAccessKeyName=p",
		"HostName=h;DeviceId=d;SharedAccessKey=a2V5a2V5a2V5a2V5", // a device's
	} {
		if client, err := backend.NewHub(text, backend.Options{}); err == nil || client != nil {
			t.Errorf("%q makes the client %v", text, client)
		}
		if client, err := backend.NewProvisioning(text, backend.Options{}); err == nil || client != nil {
			t.Errorf("%q makes the client %v", text, client)
		}
	}
}

// A port in the connection string is where the service is reached, and no part
// of the resource that the token is for.
func TestAPortInTheConnectionString(t *testing.T) {
	berth := berthtest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	connection, err := credential.ParseConnectionString(berth.Info().Hubs[0].ConnectionString)
	if err != nil {
		t.Fatal(err)
	}
	connection.HostName = berth.HTTPSAddress()
	iot, err := backend.NewHub(connection.String(), backend.Options{RootCAs: berth.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	defer iot.Close()
	if _, _, err := iot.Devices(ctx, "", "", 1); err != nil {
		t.Error(err)
	}
	connection.SharedAccessKey = credential.NewKey(32)
	if iot, err = backend.NewHub(connection.String(), backend.Options{RootCAs: berth.RootCAs}); err != nil {
		t.Fatal(err)
	}
	defer iot.Close()
	_, _, err = iot.Devices(ctx, "", "", 1)
	expect(t, err, fault.UnauthorizedAccess)
}
