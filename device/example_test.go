package device_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"sync"

	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// A device registers with the provisioning service, connects to the hub that it is
// assigned to, sends a message and reports a property of its twin.
func Example() {
	berth, err := berthtest.NewServer() // stands for the service that runs elsewhere
	if err != nil {
		log.Fatal(err)
	}
	defer berth.Stop()
	ctx := context.Background()
	enrollment, err := berth.Provisioning.CreateEnrollment(ctx, enroll.Enrollment{
		RegistrationID: "thermostat-1",
		Settings: enroll.Settings{
			Attestation: enroll.AttestationMechanism{Type: "symmetricKey"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	key := enrollment.Attestation.SymmetricKey.PrimaryKey

	registration, err := device.Provision(ctx, device.ProvisioningOptions{
		Host:           berth.MQTTAddress(), // global.azure-devices-provisioning.net, at Azure
		IDScope:        berth.Info().IDScope,
		RegistrationID: "thermostat-1",
		SASKey:         key,
		RootCAs:        berth.RootCAs,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(registration.Status)

	client, err := device.Connect(ctx, device.HubOptions{
		Host:     berth.MQTTAddress(), // registration.RegistrationState.AssignedHub, on the standard port
		DeviceID: registration.RegistrationState.DeviceID,
		SASKey:   key,
		RootCAs:  berth.RootCAs,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := client.Send(ctx, device.Message{
		ContentType: "application/json",
		Properties:  map[string]string{"level": "info"},
		Payload:     []byte(`{"temperature": 21.5}`),
	}); err != nil {
		log.Fatal(err)
	}
	version, err := client.Report(ctx, json.RawMessage(`{"firmware": "1.4.2"}`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("reported properties are at version", version)

	// Output:
	// assigned
	// reported properties are at version 2
}

// A connected device is told of what its back end wants of it.
func ExampleConnect() {
	ctx := context.Background()
	berth, options := exampleDevice("thermostat-1")
	defer berth.Stop()

	wanted := make(chan string, 1)
	options.OnDesired = func(version int64, patch json.RawMessage) {
		var desired struct{ Interval int }
		if err := json.Unmarshal(patch, &desired); err != nil {
			log.Print(err)
		}
		wanted <- fmt.Sprintf("version %d: every %d s", version, desired.Interval)
	}
	client, err := device.Connect(ctx, options)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	// Somewhere else, in the back end:
	patch := json.RawMessage(`{"properties": {"desired": {"interval": 10}}}`)
	if _, err := berth.Hub.PatchTwin(ctx, "thermostat-1", patch, ""); err != nil {
		log.Fatal(err)
	}

	select {
	case change := <-wanted:
		fmt.Println(change)
	case <-client.Ended():
		log.Fatal(client.Err())
	}

	// Output: version 2: every 10 s
}

// Messages that do not wait for each other are many times as fast.
func ExampleClient_SendAsync() {
	berth, options := exampleDevice("meter-1")
	defer berth.Stop()
	client, err := device.Connect(context.Background(), options)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var underWay sync.WaitGroup
	acknowledged := 0 // written by one goroutine, that which reads the connection
	for reading := range 100 {
		underWay.Add(1)
		err := client.SendAsync(device.Message{Payload: fmt.Appendf(nil, `{"reading": %d}`, reading)}, func(err error) {
			defer underWay.Done()
			if err != nil {
				log.Print(err)
				return
			}
			acknowledged++
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	underWay.Wait()
	fmt.Println(acknowledged, "messages are in the hub")

	// Output: 100 messages are in the hub
}

// exampleDevice starts a server and adds a device to its hub.
func exampleDevice(id string) (*berthtest.Server, device.HubOptions) {
	berth, err := berthtest.NewServer()
	if err != nil {
		log.Fatal(err)
	}
	added, err := berth.Hub.CreateDevice(context.Background(), identity.Device{DeviceID: id})
	if err != nil {
		log.Fatal(err)
	}
	return berth, device.HubOptions{
		Host:     berth.MQTTAddress(),
		DeviceID: id,
		SASKey:   *added.Authentication.SymmetricKey.PrimaryKey,
		RootCAs:  berth.RootCAs,
	}
}
