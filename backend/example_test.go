package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// A client is made of a connection string, as berth up shows it and Azure's portal does.
func Example() {
	berth, err := berthtest.NewServer() // stands for the service that runs elsewhere
	if err != nil {
		log.Fatal(err)
	}
	defer berth.Stop()
	ctx := context.Background()

	client, err := backend.NewProvisioning(berth.Info().ProvisioningConnectionString, backend.Options{
		RootCAs: berth.RootCAs,        // not needed when the system trusts the service
		Address: berth.HTTPSAddress(), // not needed on the standard port
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	enrollment := enroll.Enrollment{
		RegistrationID: "thermostat-1",
		Settings: enroll.Settings{
			Attestation: enroll.AttestationMechanism{Type: "symmetricKey"},
		},
	}
	created, err := client.CreateEnrollment(ctx, enrollment)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(created.RegistrationID, "is", created.ProvisioningStatus)

	// A fault of the service has a code, which errors.Is finds.
	_, err = client.CreateEnrollment(ctx, enrollment)
	fmt.Println("once more:", errors.Is(err, fault.EnrollmentConflict))

	// What others have changed meanwhile is not overwritten.
	created.ProvisioningStatus = enroll.Disabled
	disabled, err := client.PutEnrollment(ctx, created, created.ETag)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(disabled.RegistrationID, "is", disabled.ProvisioningStatus)
	_, err = client.PutEnrollment(ctx, created, created.ETag)
	fmt.Println("with an ETag of before:", errors.Is(err, fault.PreconditionFailed))

	// Output:
	// thermostat-1 is enabled
	// once more: true
	// thermostat-1 is disabled
	// with an ETag of before: true
}

// An operator finds out why a device can't register: the device itself learns as little
// as a stranger may.
func ExampleProvisioning_Attempts() {
	berth, err := berthtest.NewServer()
	if err != nil {
		log.Fatal(err)
	}
	defer berth.Stop()
	ctx := context.Background()
	if _, err := berth.Provisioning.CreateEnrollment(ctx, enroll.Enrollment{
		RegistrationID: "thermostat-1",
		Settings: enroll.Settings{
			Attestation: enroll.AttestationMechanism{Type: "symmetricKey"},
		},
	}); err != nil {
		log.Fatal(err)
	}
	if _, err := device.Provision(ctx, device.ProvisioningOptions{
		Host:           berth.MQTTAddress(),
		IDScope:        berth.Info().IDScope,
		RegistrationID: "thermostat-1",
		SASKey:         credential.NewKey(32), // of some other device
		RootCAs:        berth.RootCAs,
	}); err == nil {
		log.Fatal("it is let in")
	}

	found, err := berth.Provisioning.Attempts(ctx, attempts.Filter{RegistrationID: "thermostat-1", Refused: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, attempt := range found {
		failed := attempt.Checks[len(attempt.Checks)-1] // the first that fails is the last
		fmt.Printf("%s was %s because of its %s\n", attempt.RegistrationID, attempt.Outcome, failed.Name)
	}

	// Output: thermostat-1 was refused because of its token signature
}

// A back end tells a device what it wants of it, whether the device is connected or not.
func ExampleHub_PatchTwin() {
	berth, err := berthtest.NewServer()
	if err != nil {
		log.Fatal(err)
	}
	defer berth.Stop()
	ctx := context.Background()
	if _, err := berth.Hub.CreateDevice(ctx, identity.Device{DeviceID: "thermostat-1"}); err != nil {
		log.Fatal(err)
	}

	patch := json.RawMessage(`{"tags": {"floor": 3}, "properties": {"desired": {"interval": 10}}}`)
	twin, err := berth.Hub.PatchTwin(ctx, "thermostat-1", patch, "")
	if err != nil {
		log.Fatal(err)
	}
	var desired struct {
		Interval int
		Version  int `json:"$version"`
	}
	text, err := json.Marshal(twin.Properties.Desired)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.Unmarshal(text, &desired); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("every %d s, version %d; the device is %s\n", desired.Interval, desired.Version, twin.ConnectionState)

	// Output: every 10 s, version 2; the device is Disconnected
}
