package provisioning

import (
	"context"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning/attempts"
)

// Unconnected is a device whose connection ended before it could ask for anything, with
// what is known of it.
type Unconnected struct {
	credential.Evidence

	ServerName string // that it asked for in its TLS handshake; "" is none
	OtherName  bool   // the server's certificate does not have that name

	IDScope, RegistrationID string // of its user name, when it wanted to register
	Hub, DeviceID           string // of its user name or ServerName, when it wanted to a hub
}

// HandshakeFailed keeps it as an attempt that the TLS handshake with a device failed. It
// reports false, and does nothing, when the failure says nothing of the device.
func (s *Service) HandshakeFailed(ctx context.Context, device Unconnected, failure error) bool {
	trace := device.trace()
	otherName := ""
	if device.OtherName {
		otherName = device.ServerName
	}
	if !attest.HandshakeFailed(&trace, device.Certificates, otherName, failure) {
		return false
	}
	if device.RegistrationID == "" && len(device.Certificates) > 0 {
		device.RegistrationID = device.Certificates[0].Subject.CommonName
	}
	s.saveUnconnected(ctx, device, trace, failure)
	return true
}

// VersionRefused keeps it as an attempt that a device speaks a protocol, such as "MQTT
// 5.0", that is not served.
func (s *Service) VersionRefused(ctx context.Context, device Unconnected, version string, failure error) {
	trace := device.trace()
	attest.VersionRefused(&trace, version)
	s.saveUnconnected(ctx, device, trace, failure)
}

// ConnectFailed keeps it as an attempt that a device broke the protocol before it was
// connected.
func (s *Service) ConnectFailed(ctx context.Context, device Unconnected, failure error) {
	trace := device.trace()
	attest.ConnectFailed(&trace, failure)
	s.saveUnconnected(ctx, device, trace, failure)
}

// trace begins with what an attempt has no field for: that the device wanted to a hub.
func (u *Unconnected) trace() (trace attest.Trace) {
	switch {
	case u.DeviceID != "":
		trace.Pass("hub", "the device %.128q to the hub %.253q", u.DeviceID, u.Hub)
	case u.Hub != "":
		trace.Pass("hub", "a device to the hub %.253q", u.Hub)
	}
	return trace
}

// saveUnconnected keeps an attempt, and counts it unless it was not one to register. If
// the device's source is locked out or had many of them, there is a line in the log and
// no more.
func (s *Service) saveUnconnected(ctx context.Context, device Unconnected, trace attest.Trace, failure error) {
	now := s.config.Now()
	if !s.rates.Unconnected(device.RemoteAddr) || s.lockouts.Check(device.RemoteAddr) != nil {
		check, _ := trace.Failed()
		s.config.Logger.WarnContext(ctx, "connection refused", "check", check.Name, "saw", check.Saw,
			"protocol", device.Protocol, "remote", device.RemoteAddr, "error", failure)
		return
	}
	attempt := attest.Attempt{Time: now.UTC(), Protocol: device.Protocol, RemoteAddress: device.RemoteAddr,
		Outcome: attest.Refused, Checks: trace,
		IDScope: attempts.Printable(device.IDScope), RegistrationID: attempts.Printable(device.RegistrationID)}
	if device.RegistrationID != "" {
		attempt.Enrolled = s.isEnrolled(ctx, device.RegistrationID)
	}
	if len(device.Certificates) > 0 {
		s.lockouts.CountFailure(ctx, device.RemoteAddr)
	}
	if device.Hub == "" {
		s.tally.count(attest.Refused)
	}
	s.saveRefusal(ctx, attempt, failure)
}
