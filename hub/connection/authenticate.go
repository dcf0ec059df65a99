package connection

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
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
	key         string               // of the device that signed its token, else ""
	thumbprints []string             // of its self-signed certificate: SHA-1 and SHA-256
	operational issuance.Certificate // zero for another method than that
	signer      *signer              // the authority that signed its certificate; nil for another method than that
}

// stillHolds reports whether the device could prove itself with the same key or certificate
// now. What else it could come with is no part of that, so that keys and certificates are
// rolled one after the other without ending a connection.
func (p proof) stillHolds(device identity.Principal) bool {
	authentication := device.Authentication
	switch p.method {
	case message.DeviceKey:
		return authentication.Type == identity.SAS &&
			slices.ContainsFunc(keysOf(authentication), func(key string) bool {
				return sameKey(key, p.key)
			})
	case message.Thumbprint:
		return authentication.Type == identity.SelfSigned && knowsOneOf(authentication, p.thumbprints)
	case message.IssuedCertificate:
		return authentication.Type == identity.CertificateAuthority && device.Issuance != nil &&
			strings.EqualFold(device.Issuance.RegistrationID, p.operational.RegistrationID)
	case message.AuthoritySigned:
		return authentication.Type == identity.CertificateAuthority && device.Issuance == nil
	}
	return true // a policy's key, which is not the device's
}

// byCertificate reports whether the device proved itself with a certificate: its own, one
// that was issued to it, or one that an authority signed.
func (p proof) byCertificate() bool {
	return p.method == message.Thumbprint || p.method == message.IssuedCertificate ||
		p.method == message.AuthoritySigned
}

// expiredReason is why a session with this proof ends once its time is over.
func (p proof) expiredReason() error {
	if p.byCertificate() {
		return ErrCertExpired
	}
	return ErrTokenExpired
}

// authenticate judges the evidence of a device or module against its identity. It returns the faults
// 401002 and 401003.
func (c *Connections) authenticate(
	ctx context.Context, device identity.Principal, evidence credential.Evidence,
) (proof, error) {
	switch {
	case device.Disabled:
		return refuse(fault.UnauthorizedAccess, "The device %q is disabled", device.ID)
	case evidence.Token != "":
		return c.authenticateToken(ctx, device, evidence.Token)
	case len(evidence.Certificates) == 0:
		return refuse(fault.UnauthorizedAccess, "The device %q showed neither a token nor a client certificate",
			device.ID)
	}
	certificate := evidence.Certificates[0]
	authentication := device.Authentication
	if authentication.Type == identity.CertificateAuthority && device.Issuance != nil && c.config.Issuer != nil {
		operational, err := c.config.Issuer.Verify(ctx, certificate, device.Issuance.RegistrationID)
		return proof{method: message.IssuedCertificate, expiry: certificate.NotAfter, operational: operational}, err
	}
	if authentication.Type == identity.CertificateAuthority && device.Issuance == nil {
		return c.authenticateSigned(ctx, device, evidence.Certificates)
	}
	if authentication.Type != identity.SelfSigned {
		return refuse(fault.UnauthorizedAccess, "The device %q shows a certificate, and its authentication is %s",
			device.ID, authentication.Type)
	}
	sha1, sha256 := credential.Thumbprints(certificate)
	thumbprints := []string{sha1, sha256}
	if !knowsOneOf(authentication, thumbprints) {
		return refuse(fault.UnauthorizedAccess,
			"The certificate of the device %q, SHA-256 %s, is not the one that the hub knows", device.ID, sha256)
	}
	if err := checkValidity(device.ID, certificate, c.config.Now()); err != nil {
		return proof{}, err
	}
	return proof{method: message.Thumbprint, expiry: certificate.NotAfter, thumbprints: thumbprints}, nil
}

// checkValidity returns fault 401002 for a certificate that is not valid now.
func checkValidity(deviceID string, certificate *x509.Certificate, now time.Time) error {
	if now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		return fault.New(fault.UnauthorizedAccess, "The certificate of the device %q is valid from %s to %s only",
			deviceID, certificate.NotBefore.UTC().Format(time.RFC3339), certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// knowsOneOf reports whether a device may come with a certificate of these thumbprints.
func knowsOneOf(authentication *identity.Authentication, thumbprints []string) bool {
	known := authentication.X509Thumbprint
	return slices.ContainsFunc([]*string{known.PrimaryThumbprint, known.SecondaryThumbprint}, func(t *string) bool {
		return t != nil && slices.Contains(thumbprints, *t)
	})
}

func (c *Connections) authenticateToken(ctx context.Context, device identity.Principal, text string) (proof, error) {
	token, err := credential.ParseToken(text)
	if err != nil {
		return refuse(fault.UnauthorizedAccess, "The token of the device %q is malformed: %v", device.ID, err)
	}
	asked := c.resource(device.ID)
	keys := keysOf(device.Authentication)
	signing := slices.IndexFunc(keys, token.SignedBy)
	if token.KeyName != "" {
		err := c.config.AuthorizeDevice(ctx, text, asked.Path...)
		return proof{method: message.PolicyKey, expiry: token.Expiry}, err
	}
	switch {
	case device.Authentication.Type != identity.SAS:
		return refuse(fault.UnauthorizedAccess, "The device %q shows a token, and its authentication is %s",
			device.ID, device.Authentication.Type)
	case !token.Covers(asked):
		return refuse(fault.UnauthorizedAccess, "The token is for %.300q (sr), and this is %.300q",
			token.Resource, asked.String())
	case signing < 0:
		return refuse(fault.UnauthorizedAccess, "The token of the device %q was not made with its key",
			device.ID)
	case token.Expired(c.config.Now()):
		return refuse(fault.TokenExpired, "The token of the device %q expired at %s",
			device.ID, token.Expiry.Format(time.RFC3339))
	}
	return proof{method: message.DeviceKey, expiry: token.Expiry, key: keys[signing]}, nil
}

// resource is what a token must be good for that connects a device or module.
func (c *Connections) resource(id string) credential.Resource {
	if deviceID, moduleID := identity.SplitKey(id); moduleID != "" {
		return credential.ModuleResource(c.config.Host, deviceID, moduleID)
	}
	return credential.DeviceResource(c.config.Host, id)
}

// keysOf are the symmetric keys that a device has, the primary one first.
func keysOf(authentication *identity.Authentication) (keys []string) {
	for _, key := range []*string{authentication.SymmetricKey.PrimaryKey, authentication.SymmetricKey.SecondaryKey} {
		if key != nil {
			keys = append(keys, *key)
		}
	}
	return keys
}

// sameKey reports whether two keys in base64 are the same, however they are written.
func sameKey(a, b string) bool {
	if a == b {
		return true
	}
	decodedA, errA := base64.StdEncoding.DecodeString(a)
	decodedB, errB := base64.StdEncoding.DecodeString(b)
	return errA == nil && errB == nil && bytes.Equal(decodedA, decodedB)
}

func refuse(code fault.Code, format string, args ...any) (proof, error) {
	return proof{}, fault.New(code, format, args...)
}
