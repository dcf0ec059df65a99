package hub

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/issuance"
)

// verifyIssued judges the operational certificate that a device shows.
func (h *Hub) verifyIssued(ctx context.Context, device Device, evidence credential.Evidence) (issuance.Certificate, error) {
	return h.config.Issuer.Verify(ctx, evidence.Certificates[0], device.Issuance.RegistrationID)
}

// IssueTimeout is how long a request for a certificate may take.
const IssueTimeout = 2 * time.Minute

// CertificateRequest is a device's wish for a new operational certificate, checked.
type CertificateRequest struct{ request issuance.Request }

// CheckCertificateRequest holds a certificate signing request (base64 of PKCS #10)
// against the device's credential policy. It returns fault 400004 for a device that
// gets no certificates, and 400037 for a request that its policy does not allow.
func (s *Session) CheckCertificateRequest(ctx context.Context, csr string) (CertificateRequest, error) {
	s.touch()
	device, _, err := s.identity(ctx)
	if err != nil {
		return CertificateRequest{}, err
	}
	if device.Issuance == nil || s.hub.config.Issuer == nil {
		return CertificateRequest{}, fault.New(fault.ArgumentInvalid,
			"The device %q has no operational certificates. Let its enrollment name a credential policy, and the device register with a certificate signing request", s.deviceID)
	}
	request, err := s.hub.config.Issuer.Check(ctx, device.Issuance.Policy, device.Issuance.RegistrationID, csr)
	if err != nil {
		problem := fault.From(err)
		return CertificateRequest{}, fault.New(fault.CredentialRequestInvalid, "%s", problem.Message).Because(err)
	}
	return CertificateRequest{request}, nil
}

// IssueCertificate makes the device's new certificate durable and returns its chain,
// the device's own first and the root last, each base64 of DER. The one with which
// the device is connected stays good.
func (s *Session) IssueCertificate(ctx context.Context, request CertificateRequest) (chain []string, err error) {
	made, changes, err := s.hub.config.Issuer.Issue(ctx, request.request)
	if err != nil {
		return nil, err
	}
	if err := s.commit(ctx, changes...); err != nil {
		return nil, err
	}
	for _, der := range made {
		chain = append(chain, base64.StdEncoding.EncodeToString(der))
	}
	return chain, nil
}
