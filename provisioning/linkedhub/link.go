package linkedhub

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
)

// Link is a hub that devices may be assigned to: one of this process, or any
// other that is reached by its service REST API with a connection string. It has
// the fields of Azure's IotHubDefinitionDescription, and Berth's own after them.
type Link struct {
	HostName string `json:"name"` // host name that devices connect to

	// of a hub elsewhere; never shown again, and kept when it is left out
	ConnectionString string `json:"connectionString,omitempty"`

	Location string `json:"location,omitempty"` // region, such as westeurope; for lowest latency

	// false leaves the hub to enrollments that name it; true when nil
	ApplyAllocationPolicy *bool `json:"applyAllocationPolicy"`

	AllocationWeight *int `json:"allocationWeight"` // share of the devices, 0 to 1,000; 1 when nil

	Local bool   `json:"local"`         // read only: a hub of this process
	Hub   string `json:"hub,omitempty"` // read only: what people call it

	// host:port of the service API, when it is not port 443 of the host name
	Address string `json:"address,omitempty"`

	// PEM of the authorities to trust there; those of the system when empty
	CACertificates string `json:"caCertificates,omitempty"`

	// let the time to this hub stand for a network's that has no figure
	MeasureLatency bool `json:"measureLatency,omitempty"`
	LatencyMillis  *int `json:"latencyMillis,omitempty"` // read only: last measured, in milliseconds

	// read only: registrations that name it, where they were counted
	AssignedDevices *int `json:"assignedDevices,omitempty"`

	ETag string `json:"etag,omitempty"`
}

// MaxWeight is the largest weight of a linked hub.
const MaxWeight = 1000

// maxLocation is how many characters the name of a location may have.
const maxLocation = 64

// CheckHostName holds the host name of a hub against what all SDKs take; what is
// wrong with it is fault 400004.
func CheckHostName(host string) error {
	if !strings.Contains(host, ".") || !IsHostName(host) {
		return fault.New(fault.ArgumentInvalid,
			"%.253q can't be the host name of a hub. It has letters, digits, dashes, "+
				"and at least one full stop, such as hub.example.com", host)
	}
	return nil
}

// IsHostName reports whether a name could be in DNS: up to 253 letters, digits and dashes,
// in parts of 1 to 63 between full stops that neither begin nor end with a dash.
func IsHostName(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		if len(label) == 0 || len(label) > 63 || strings.Trim(label, "-") != label {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-') {
				return false
			}
		}
	}
	return len(host) <= 253
}

// complete checks a link that is to be written and fills in what stays of the one
// before. A hub elsewhere is asked whether it takes a connection string that is given, which
// may take linkTimeout.
func (l *Links) complete(ctx context.Context, link *Link, before Link, exists bool) error {
	link.ETag, link.Hub, link.LatencyMillis, link.AssignedDevices = "", "", nil, nil
	link.Local = l.isLocal(link.HostName)
	known := exists && link.ConnectionString == "" // that the hub takes the connection string, where it is sent
	if exists {
		link.HostName = before.HostName
		if err := l.checkDestination(ctx, *link, before); err != nil {
			return err
		}
		link.ConnectionString = cmp.Or(link.ConnectionString, before.ConnectionString)
	}
	switch weight := link.AllocationWeight; {
	case weight != nil && (*weight < 0 || *weight > MaxWeight):
		return fault.New(fault.ArgumentInvalid, "allocationWeight must be from 0 to %d, not %d", MaxWeight, *weight)
	case len(link.Location) > maxLocation:
		return fault.New(fault.ArgumentInvalid, "location has %d characters, the limit is 64", len(link.Location))
	case link.Local && link.ConnectionString != "":
		return fault.New(fault.ArgumentInvalid, "The hub %s is one of this server and needs no connection string",
			link.HostName)
	case link.Local:
		return nil
	case link.ConnectionString == "":
		return fault.New(fault.ArgumentInvalid,
			"The hub %.253q is not one of this server. Link it with the connection string "+
				"of a policy that has the rights RegistryRead, RegistryWrite and ServiceConnect, such as iothubowner",
			link.HostName)
	case known:
		return nil // a hub that is down can be given another weight
	}
	return l.checkConnection(ctx, *link)
}

// linkTimeout bounds how long a hub may take to answer when it is linked.
const linkTimeout = 15 * time.Second

// checkConnection asks a hub elsewhere whether it takes the connection string of a link.
func (l *Links) checkConnection(ctx context.Context, link Link) error {
	hub, err := l.connect(link)
	if err != nil {
		return err
	}
	if closer, ok := hub.(interface{ Close() }); ok {
		defer closer.Close()
	}
	if !strings.EqualFold(hub.Host(), link.HostName) {
		return fault.New(fault.ArgumentInvalid, "The connection string is of the hub %s, and not of %s", hub.Host(),
			link.HostName)
	}
	// A device that can't be there: the answer tells whether the hub takes the key.
	ctx, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	_, err = hub.Twin(ctx, "berth-link-check")
	var problem *fault.Error
	switch {
	case errors.As(err, &problem):
		return fault.New(fault.ArgumentInvalid, "The hub %s refuses the connection string: %v", link.HostName,
			fault.ReasonOf(problem))
	case err != nil:
		return fault.New(fault.ArgumentInvalid, "The hub %s does not answer: %s", link.HostName, err).Because(err)
	}
	return nil
}

// checkDestination refuses to send a key that is kept to where its owner did not:
// who may configure the service can't read the connection string.
func (l *Links) checkDestination(ctx context.Context, link, before Link) error {
	if link.Local || link.ConnectionString != "" || before.ConnectionString == "" ||
		link.destination() == before.destination() {
		return nil
	}
	refusal := fault.New(fault.ArgumentInvalid,
		"The address of the hub %s, or the authorities to trust there, would be others. "+
			"The connection string that is kept is not sent there: give it again (connectionString)", link.HostName)
	link.ConnectionString = before.ConnectionString // that was not to be another
	return errors.Join(l.config.Audit.Refuse(ctx, audit.HubLink, link.HostName, refusal.Message, before, link), refusal)
}

// destination is where the connection string is sent, and who is believed to be
// there.
func (l Link) destination() string {
	address := cmp.Or(l.Address, net.JoinHostPort(l.HostName, "443"))
	return strings.ToLower(address) + "\n" + strings.TrimSpace(l.CACertificates)
}
