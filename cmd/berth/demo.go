package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/cmd/berth/hubcmd"
	"github.com/berth-iot/berth/cmd/berth/provisioningcmd"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/server"
)

const (
	demoDevice     = "Python-device-01" // the quickstart's
	demoPassPhrase = "1234"
	demoMessages   = 10
	demoTime       = 2 * time.Minute
)

func (c *program) demo() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show the whole path once: enroll, provision, send, read back",
		Long: `Does the Azure quickstart for X.509 devices from its beginning to its end, on a
server of its own with free ports and a folder that is removed afterwards. It
ends with exit code 0 only when every step had the result that it must have.`,
		Args: cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(command.Context(), demoTime)
			defer cancel()
			return c.demonstrate(ctx)
		},
	}
}

// demonstration is one run of the demo.
type demonstration struct {
	*program
	folder       string
	server       *server.Server
	provisioning *backend.Provisioning
	hub          *backend.Hub
	simulated    hubcmd.Simulation
}

func (c *program) demonstrate(ctx context.Context) (err error) {
	d := &demonstration{program: c}
	defer func() {
		// The folder and the server go whatever happened; a context that has
		// ended does not keep them.
		err = errors.Join(err, d.end(context.WithoutCancel(ctx)))
	}()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"start a server", d.start},
		{"make a self-signed X.509 certificate", d.makeCertificate},
		{"enroll the device", d.enroll},
		{"simulate the device", d.simulate},
		{"read the messages back from the hub", d.readBack},
		{"find the device in the hub", d.find},
		{"clean up", d.cleanUp},
	} {
		fmt.Fprintf(c.Stdout, "== %s\n", step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("demo: %s: %w", step.name, err)
		}
		fmt.Fprintln(c.Stdout)
	}
	return nil
}

func (d *demonstration) start(ctx context.Context) (err error) {
	if d.folder, err = os.MkdirTemp("", "berth-demo-"); err != nil {
		return err
	}
	config := server.DefaultConfig()
	config.DataDir, config.Listen = filepath.Join(d.folder, "data"), "127.0.0.1"
	config.MQTTPort, config.AMQPPort, config.HTTPSPort, config.PortalPort = 0, 0, 0, 0
	config.Logger = slog.New(slog.NewTextHandler(d.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if d.server, err = server.Start(ctx, config); err != nil {
		return err
	}
	info := d.server.Info()
	fmt.Fprintf(d.Stdout, "ID scope %s, global device endpoint %s:%d, hub %s\n",
		info.IDScope, info.ProvisioningHost, info.Ports.MQTT, info.Hubs[0].Host)
	roots, err := cli.ReadAuthorities(info.CAFile)
	if err != nil {
		return err
	}
	d.simulated = hubcmd.Simulation{
		Host: info.ProvisioningHost, Port: info.Ports.MQTT, IDScope: info.IDScope, RegistrationID: demoDevice,
		Roots: roots, Messages: demoMessages, Log: d.Stdout,
	}
	reached := backend.Options{RootCAs: roots, Address: cli.Loopback(info.Ports.HTTPS)}
	if d.provisioning, err = backend.NewProvisioning(info.ProvisioningConnectionString, reached); err != nil {
		return err
	}
	d.hub, err = backend.NewHub(info.Hubs[0].ConnectionString, reached)
	return err
}

func (d *demonstration) makeCertificate(context.Context) error {
	certificate, key, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
		CommonName: demoDevice, KeyType: credential.RSA4096, PassPhrase: demoPassPhrase,
		NotBefore: time.Now().Add(-time.Minute), Validity: 365 * 24 * time.Hour,
	})
	if err != nil {
		return err
	}
	if err := cli.ReplaceFile(d.file(demoDevice+".pem"), certificate, 0o644); err != nil {
		return err
	}
	if err := cli.ReplaceFile(d.file(demoDevice+".key.pem"), key, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(d.Stdout,
		"%[1]s.pem and %[1]s.key.pem: RSA 4096, CN=%[1]s, the key encrypted with the pass phrase %[2]s\n",
		demoDevice, demoPassPhrase)
	return nil
}

func (d *demonstration) file(name string) string { return filepath.Join(d.folder, name) }

func (d *demonstration) enroll(ctx context.Context) error {
	certificate, err := os.ReadFile(d.file(demoDevice + ".pem"))
	if err != nil {
		return err
	}
	enrollment, err := d.provisioning.CreateEnrollment(ctx, enroll.Enrollment{
		RegistrationID: demoDevice,
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "x509", X509: &enroll.X509Attestation{
			ClientCertificates: &enroll.X509Certificates{
				Primary: &enroll.X509Certificate{Certificate: string(certificate)}}}}},
	})
	if err != nil {
		return err
	}
	provisioningcmd.DescribeEnrollment(d.Stdout, enrollment)
	return nil
}

func (d *demonstration) simulate(ctx context.Context) error {
	certificate, err := credential.LoadKeyPair(d.file(demoDevice+".pem"), d.file(demoDevice+".key.pem"), demoPassPhrase)
	if err != nil {
		return err
	}
	d.simulated.Certificate = &certificate
	registration, err := d.simulated.Run(ctx)
	if err != nil {
		return err
	}
	if host := d.server.Info().Hubs[0].Host; registration.RegistrationState.AssignedHub != host {
		return fmt.Errorf("the device was assigned to %s, not to %s", registration.RegistrationState.AssignedHub, host)
	}
	return nil
}

func (d *demonstration) readBack(ctx context.Context) error {
	write := hubcmd.MessageLines(d.Stdout)
	var bodies []string
	earliest := telemetry.Position{Earliest: true}
	err := d.hub.Telemetry(ctx, earliest, demoDevice, demoMessages, func(message telemetry.Message) error {
		bodies = append(bodies, hubcmd.MessageBody(message))
		return write(message)
	})
	if err != nil {
		return err
	}
	for number := 1; number <= demoMessages; number++ {
		if want := fmt.Sprintf("test wind speed %d", number); !slices.Contains(bodies, want) {
			return fmt.Errorf("the hub has no message %q, but %s", want, strings.Join(bodies, ", "))
		}
	}
	return nil
}

func (d *demonstration) find(ctx context.Context) error {
	devices, _, err := d.hub.Devices(ctx, "", "", cli.PageSize)
	if err != nil {
		return err
	}
	listed := make([]hubcmd.ListedDevice, len(devices))
	for i, device := range devices {
		listed[i].Device = device
	}
	header, row := hubcmd.DeviceTable(false)
	if err := cli.PrintList(&cli.Env{Stdout: d.Stdout}, listed, "", header, row); err != nil {
		return err
	}
	if len(devices) != 1 || devices[0].DeviceID != demoDevice || devices[0].Status != "enabled" {
		return fmt.Errorf("the hub must have the one device %s, enabled", demoDevice)
	}
	return nil
}

func (d *demonstration) cleanUp(ctx context.Context) error {
	if err := d.provisioning.DeleteEnrollment(ctx, demoDevice, ""); err != nil {
		return fmt.Errorf("delete the enrollment: %w", err)
	}
	if err := d.provisioning.DeleteRegistration(ctx, demoDevice, ""); err != nil {
		return fmt.Errorf("delete the registration: %w", err)
	}
	if err := d.hub.DeleteDevice(ctx, demoDevice, "*"); err != nil {
		return fmt.Errorf("delete the device: %w", err)
	}
	fmt.Fprintln(d.Stdout, "Enrollment, registration and device are deleted; the server stops and its folder goes.")
	return nil
}

// end stops the server and removes what the demo has written.
func (d *demonstration) end(ctx context.Context) (err error) {
	if d.hub != nil {
		d.hub.Close()
	}
	if d.provisioning != nil {
		d.provisioning.Close()
	}
	if d.server != nil {
		ctx, cancel := context.WithTimeout(ctx, drainTime)
		defer cancel()
		err = d.server.Shutdown(ctx)
	}
	if d.folder != "" {
		err = errors.Join(err, os.RemoveAll(d.folder))
	}
	return err
}
