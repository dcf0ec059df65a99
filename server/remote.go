package server

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"time"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// remoteHub is a hub elsewhere as the provisioning service needs it: another
// Berth, or any IoT hub, by its service REST API.
type remoteHub struct {
	*backend.Hub
	host    string
	address string // host:port of the service API
}

var _ linkedhub.Hub = remoteHub{}

// newRemoteHub returns the hub elsewhere that a link leads to.
func (o *outgoing) newRemoteHub(link linkedhub.Link) (linkedhub.Hub, error) {
	connection, err := credential.ParseConnectionString(link.ConnectionString)
	if err != nil {
		return nil, fault.New(fault.ArgumentInvalid, "The hub's connection string can't be read: %s", err)
	}
	options := backend.Options{Address: link.Address, Turn: func(ctx context.Context) (end func(), err error) {
		return o.begin(ctx, connection.HostName)
	}}
	if link.CACertificates != "" {
		options.RootCAs = x509.NewCertPool()
		if !options.RootCAs.AppendCertsFromPEM([]byte(link.CACertificates)) {
			return nil, fault.New(fault.ArgumentInvalid, "caCertificates holds no certificate in PEM")
		}
	}
	client, err := backend.NewHub(link.ConnectionString, options)
	if err != nil {
		return nil, fault.New(fault.ArgumentInvalid, "The hub's connection string can't be used: %s", err)
	}
	remote := remoteHub{Hub: client, host: connection.HostName, address: link.Address}
	if remote.address == "" {
		remote.address = net.JoinHostPort(connection.HostName, "443")
	}
	return remote, nil
}

// Host implements linkedhub.Hub.
func (r remoteHub) Host() string { return r.host }

// beingProvisioned is why a device is disabled that has no twin yet.
const beingProvisioned = "being provisioned"

// EnsureDevice implements linkedhub.Hub. Identity and twin are two requests, so a
// device that is to have a twin comes disabled, gets it, and is given its status: who
// repeats this after a crash finds out how far it came.
func (r remoteHub) EnsureDevice(ctx context.Context, admission linkedhub.Admission) (generation string, _ error) {
	request := hubAdmission(admission)
	request.Issuance = nil // a hub elsewhere knows the certificates by their thumbprints
	wanted, err := request.Device()
	if err != nil {
		return "", err
	}
	if admission.ParentDeviceID != "" {
		parent, err := r.Device(ctx, admission.ParentDeviceID)
		if err := identity.CheckParent(admission.ParentDeviceID, parent, err); err != nil {
			return "", err
		}
		wanted.SetParent(parent)
	}
	twin := admission.Twin != nil && (len(admission.Twin.Tags) > 0 || len(admission.Twin.Properties.Desired) > 0)
	present, err := r.Device(ctx, admission.DeviceID)
	if errors.Is(err, fault.DeviceNotFound) {
		created := wanted
		if reason := beingProvisioned; twin {
			created.Status, created.StatusReason = identity.Disabled, &reason
		}
		present, err = r.CreateDevice(ctx, created)
		if errors.Is(err, fault.DeviceAlreadyExists) { // this moment
			present, err = r.Device(ctx, admission.DeviceID)
		}
	}
	if err != nil {
		return "", err
	}
	same := sameCredentials(present.Authentication, wanted.Authentication)
	if expected := admission.IfGeneration; expected != nil && *expected != generationOf(present) && !same {
		return "", hub.DeviceInUse(admission.DeviceID)
	}
	begun := isBegun(present)
	if begun && twin {
		patch, err := document.Marshal(admission.Twin)
		if err != nil {
			return "", err
		}
		if _, err := r.PatchTwin(ctx, admission.DeviceID, patch, "*"); err != nil {
			return "", err
		}
	}
	if !begun && same && present.Capabilities == wanted.Capabilities &&
		(admission.ParentDeviceID == "" || slices.Equal(present.ParentScopes, wanted.ParentScopes)) {
		return generationOf(present), nil
	}
	present.Authentication, present.Capabilities = wanted.Authentication, wanted.Capabilities
	if admission.ParentDeviceID != "" {
		present.ParentScopes = wanted.ParentScopes
		if !wanted.Capabilities.IoTEdge {
			present.DeviceScope = wanted.DeviceScope
		}
	}
	if begun {
		present.Status, present.StatusReason = wanted.Status, wanted.StatusReason
	}
	updated, err := r.UpdateDevice(ctx, present, present.ETag)
	return generationOf(updated), err
}

// isBegun reports whether EnsureDevice did not come to its end with a device: nobody but it
// has disabled that.
func isBegun(device identity.Device) bool {
	return device.Status == identity.Disabled && device.StatusReason != nil && *device.StatusReason == beingProvisioned
}

// generationOf is the generation of an identity that is there: simple stand-ins of a
// hub may have none.
func generationOf(device identity.Device) string { return cmp.Or(device.GenerationID, "unknown") }

// Identity implements linkedhub.Hub.
func (r remoteHub) Identity(ctx context.Context, admission linkedhub.Admission) (linkedhub.Identity, error) {
	request := hubAdmission(admission)
	request.Issuance = nil // as in EnsureDevice
	wanted, err := request.Device()
	if err != nil {
		return linkedhub.Identity{}, err
	}
	present, err := r.Device(ctx, admission.DeviceID)
	if errors.Is(err, fault.DeviceNotFound) {
		return linkedhub.Identity{}, nil
	}
	found := linkedhub.Identity{Generation: generationOf(present),
		Differs: !sameCredentials(present.Authentication, wanted.Authentication)}
	if !isBegun(present) {
		found.Status = linkedhub.Status{Disabled: present.Status == identity.Disabled, Reason: present.StatusReason}
	}
	return found, err
}

// sameCredentials compares what counts for the type: hubs fill the rest in their
// own ways.
func sameCredentials(a, b *identity.Authentication) bool {
	if a == nil || b == nil || a.Type != b.Type {
		return false
	}
	if a.Type == identity.SAS {
		return reflect.DeepEqual(a.SymmetricKey, b.SymmetricKey)
	}
	return reflect.DeepEqual(a.X509Thumbprint, b.X509Thumbprint)
}

// Check implements linkedhub.Hub: the rules are those of every hub.
func (r remoteHub) Check(admission linkedhub.Admission) error {
	return hubAdmission(admission).Check()
}

// Twin implements linkedhub.Hub.
func (r remoteHub) Twin(ctx context.Context, deviceID string) (*linkedhub.InitialTwin, error) {
	return twinToMigrate(r.Hub.Twin(ctx, deviceID))
}

// Remove implements linkedhub.Hub.
func (r remoteHub) Remove(ctx context.Context, deviceID string) error {
	err := r.DeleteDevice(ctx, deviceID, "*")
	if errors.Is(err, fault.DeviceNotFound) {
		return nil
	}
	return err
}

// Latency returns the time to connect to the hub.
func (r remoteHub) Latency(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.address)
	if err != nil {
		return 0, fmt.Errorf("reach the hub: %w", err)
	}
	latency := time.Since(start)
	return latency, conn.Close()
}
