package berthtest_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// A device is enrolled, registers, and is found in the hub that it was assigned to. In a
// test, berthtest.Start(t) is the only line that starting and stopping takes.
func Example() {
	berth, err := berthtest.NewServer()
	if err != nil {
		log.Fatal(err)
	}
	defer berth.Stop()
	ctx := context.Background()

	enrollment, err := berth.Provisioning.CreateEnrollment(ctx, enroll.Enrollment{
		RegistrationID: "thermostat-1",
		Settings: enroll.Settings{
			Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}, // the service makes the keys
		},
	})
	if err != nil {
		log.Fatal(err)
	}

	// Here a device under test does the same, with an Azure SDK of its own.
	registration, err := device.Provision(ctx, device.ProvisioningOptions{
		Host:           berth.MQTTAddress(),
		IDScope:        berth.Info().IDScope,
		RegistrationID: "thermostat-1",
		SASKey:         enrollment.Attestation.SymmetricKey.PrimaryKey,
		RootCAs:        berth.RootCAs,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(registration.Status, "to", registration.RegistrationState.AssignedHub)

	identity, err := berth.Hub.Device(ctx, registration.RegistrationState.DeviceID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(identity.DeviceID, "is", identity.Status)

	// Output:
	// assigned to 127.0.0.1
	// thermostat-1 is enabled
}

// A server on a folder of its own finds again what another has left there.
func ExampleDataDir() {
	folder, err := os.MkdirTemp("", "thermostats-") // or t.TempDir(), in a test
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	ctx := context.Background()

	berth, err := berthtest.NewServer(berthtest.DataDir(folder))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := berth.Hub.CreateDevice(ctx, identity.Device{DeviceID: "thermostat-1"}); err != nil {
		log.Fatal(err)
	}
	if err := berth.Stop(); err != nil {
		log.Fatal(err)
	}

	berth, err = berthtest.NewServer(berthtest.DataDir(folder))
	if err != nil {
		log.Fatal(err)
	}
	defer berth.Stop()
	device, err := berth.Hub.Device(ctx, "thermostat-1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(device.DeviceID, "is still there")

	// Output: thermostat-1 is still there
}
