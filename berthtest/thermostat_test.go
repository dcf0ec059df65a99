package berthtest_test

import (
	"testing"

	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/provisioning/enroll"
)

func TestThermostat(t *testing.T) {
	server := berthtest.Start(t)
	enrollment, err := server.Provisioning.CreateEnrollment(t.Context(), enroll.Enrollment{
		RegistrationID: "thermostat-1",
		Settings:       enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	registration, err := device.Provision(t.Context(), device.ProvisioningOptions{
		Host:           server.MQTTAddress(),
		IDScope:        server.Info().IDScope,
		RegistrationID: enrollment.RegistrationID,
		SASKey:         enrollment.Attestation.SymmetricKey.PrimaryKey,
		RootCAs:        server.RootCAs,
	})
	if err != nil {
		t.Fatal(err)
	}
	if registration.Status != "assigned" {
		t.Errorf("the thermostat is %s", registration.Status)
	}
}
