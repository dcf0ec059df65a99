package berthtest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
)

func TestStart(t *testing.T) {
	berth := berthtest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()

	if _, err := berth.Provisioning.Enrollment(ctx, "nobody"); !errors.Is(err, fault.EnrollmentNotFound) {
		t.Errorf("an unknown enrollment: %v, want %v", err, fault.EnrollmentNotFound)
	}
	certificate, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{
		CommonName: "device-1", KeyType: credential.EC256, NotBefore: time.Now(), Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	_, err = berth.Provisioning.CreateEnrollment(ctx, enroll.Enrollment{
		RegistrationID: "device-1",
		Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "x509", X509: &enroll.X509Attestation{
			ClientCertificates: &enroll.X509Certificates{
				Primary: &enroll.X509Certificate{Certificate: string(certificate)}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if devices, _, err := berth.Hub.Devices(ctx, "", "", 10); err != nil || len(devices) != 0 {
		t.Errorf("the hub has %v, %v, want no device", devices, err)
	}
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: berth.RootCAs, ServerName: berth.Info().ProvisioningHost}}
	conn, err := dialer.DialContext(ctx, "tcp", berth.MQTTAddress())
	if err != nil {
		t.Fatalf("the MQTT port, trusting RootCAs: %v", err)
	}
	conn.Close()

	scope, before := berth.Info().IDScope, berth.MQTTAddress()
	berth.Restart(t)
	if berth.Info().IDScope != scope {
		t.Errorf("the ID scope was %s and is %s after a restart", scope, berth.Info().IDScope)
	}
	if _, err := berth.Provisioning.Enrollment(ctx, "device-1"); err != nil {
		t.Errorf("the enrollment after a restart: %v", err)
	}
	if err := berth.Stop(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", before); err == nil {
		conn.Close()
		t.Error("the port of a stopped server still answers")
	}
}

// A server of no test leaves nothing behind, and nobody's data goes with it.
func TestNewServer(t *testing.T) {
	kept := t.TempDir()
	for _, test := range []struct {
		options []berthtest.Option
		stays   bool
	}{{nil, false}, {[]berthtest.Option{berthtest.DataDir(kept)}, true}} {
		berth, err := berthtest.NewServer(test.options...)
		if err != nil {
			t.Fatal(err)
		}
		data := berth.Info().CAFile
		if _, err := os.Stat(data); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := berth.Stop(); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) == test.stays {
			t.Errorf("after the end of the server, its authority's file: %v, and it should stay: %v", err, test.stays)
		}
	}
	if _, err := berthtest.NewServer(berthtest.DataDir(filepath.Join(os.Args[0], "below a file"))); err == nil {
		t.Error("a server starts without data")
	}
}
