package provisioning

import (
	"context"
	"strings"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning/attest"
)

// handshakesKept is how many failed handshakes of a source are kept as attempts in
// a minute: a stranger could fill the log with them.
const handshakesKept = 10

// HandshakeFailed keeps it as an attempt that the TLS handshake with a device failed,
// where that is known to be a device, and why. serverName is the name that it asked
// for, "" for none: who asks for another is none of this service's.
func (s *Service) HandshakeFailed(ctx context.Context, serverName string, evidence credential.Evidence, failure error) {
	if serverName == "" && len(evidence.Certificates) == 0 || serverName != "" && !strings.EqualFold(serverName, s.Host()) {
		return
	}
	var trace attest.Trace
	if s.heard(evidence.RemoteAddr) != nil || !attest.HandshakeFailed(&trace, evidence.Certificates, failure) {
		return
	}
	now := s.config.Now()
	if _, ok := take(s.throttles.handshakes.of(sourceOf(evidence.RemoteAddr), now), now); !ok {
		return
	}
	attempt := attest.Attempt{Time: now.UTC(), Protocol: evidence.Protocol, RemoteAddress: evidence.RemoteAddr, Outcome: attest.Refused, Checks: trace}
	if len(evidence.Certificates) > 0 {
		name := evidence.Certificates[0].Subject.CommonName
		attempt.RegistrationID, attempt.Enrolled = printable(name), s.enrolledAs(ctx, name)
		s.failed(ctx, evidence.RemoteAddr)
	}
	s.keepRefusal(ctx, attempt, failure)
}
