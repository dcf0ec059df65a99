package connection

import (
	"context"
	"slices"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/issuance"
)

// proof is how a device has proved who it is.
type proof struct {
	method      message.AuthMethod
	expiry      time.Time            // of the token or the certificate
	operational issuance.Certificate // zero for another method than that
}

// expiredReason is why a session with this proof ends once its time is over.
func (p proof) expiredReason() error {
	if p.method == message.Thumbprint || p.method == message.IssuedCertificate {
		return ErrCertExpired
	}
	return ErrTokenExpired
}

// authenticate judges the evidence of a device against its identity. It returns the faults
// 401002 and 401003.
func (c *Connections) authenticate(
	ctx context.Context, device identity.Device, evidence credential.Evidence,
) (proof, error) {
	switch {
	case device.Status == identity.Disabled:
		return refuse(fault.UnauthorizedAccess, "The device %q is disabled", device.DeviceID)
	case evidence.Token != "":
		return c.authenticateToken(ctx, device, evidence.Token)
	case len(evidence.Certificates) == 0:
		return refuse(fault.UnauthorizedAccess, "The device %q showed neither a token nor a client certificate",
			device.DeviceID)
	}
	certificate := evidence.Certificates[0]
	authentication := device.Authentication
	if authentication.Type == identity.CertificateAuthority && device.Issuance != nil && c.config.Issuer != nil {
		operational, err := c.config.Issuer.Verify(ctx, certificate, device.Issuance.RegistrationID)
		return proof{method: message.IssuedCertificate, expiry: certificate.NotAfter, operational: operational}, err
	}
	if authentication.Type != identity.SelfSigned {
		return refuse(fault.UnauthorizedAccess, "The device %q shows a certificate, and its authentication is %s",
			device.DeviceID, authentication.Type)
	}
	sha1, sha256 := credential.Thumbprints(certificate)
	known := authentication.X509Thumbprint
	if !slices.ContainsFunc([]*string{known.PrimaryThumbprint, known.SecondaryThumbprint}, func(t *string) bool {
		return t != nil && (*t == sha256 || *t == sha1)
	}) {
		return refuse(fault.UnauthorizedAccess,
			"The certificate of the device %q, SHA-256 %s, is not the one that the hub knows", device.DeviceID, sha256)
	}
	if now := c.config.Now(); now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		return refuse(fault.UnauthorizedAccess, "The certificate of the device %q is valid from %s to %s only",
			device.DeviceID,
			certificate.NotBefore.UTC().Format(time.RFC3339),
			certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	return proof{method: message.Thumbprint, expiry: certificate.NotAfter}, nil
}

func (c *Connections) authenticateToken(ctx context.Context, device identity.Device, text string) (proof, error) {
	token, err := credential.ParseToken(text)
	if err != nil {
		return refuse(fault.UnauthorizedAccess, "The token of the device %q is malformed: %v", device.DeviceID, err)
	}
	asked := credential.DeviceResource(c.config.Host, device.DeviceID)
	if token.KeyName != "" {
		err := c.config.AuthorizeDevice(ctx, text, asked.Path...)
		return proof{method: message.PolicyKey, expiry: token.Expiry}, err
	}
	switch {
	case device.Authentication.Type != identity.SAS:
		return refuse(fault.UnauthorizedAccess, "The device %q shows a token, and its authentication is %s",
			device.DeviceID, device.Authentication.Type)
	case !token.Covers(asked):
		return refuse(fault.UnauthorizedAccess, "The token is for %.300q (sr), and this is %.300q",
			token.Resource, asked.String())
	case !signedByEither(token, device.Authentication.SymmetricKey):
		return refuse(fault.UnauthorizedAccess, "The token of the device %q was not made with its key",
			device.DeviceID)
	case token.Expired(c.config.Now()):
		return refuse(fault.TokenExpired, "The token of the device %q expired at %s",
			device.DeviceID, token.Expiry.Format(time.RFC3339))
	}
	return proof{method: message.DeviceKey, expiry: token.Expiry}, nil
}

func signedByEither(token *credential.Token, keys identity.KeyPair) bool {
	return keys.PrimaryKey != nil && token.SignedBy(*keys.PrimaryKey) ||
		keys.SecondaryKey != nil && token.SignedBy(*keys.SecondaryKey)
}

func refuse(code fault.Code, format string, args ...any) (proof, error) {
	return proof{}, fault.New(code, format, args...)
}
