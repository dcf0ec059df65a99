package connection

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
)

// signer is the authority by which a device came in, as it was then.
type signer struct {
	name        string
	certificate [sha256.Size]byte // its digest
}

// authenticateSigned judges a certificate that an authority of the hub has signed, itself or
// by way of others: those that the device sent, and the authorities of the hub. Its common
// name is the device's id (Azure, "Authenticate devices using X.509 CA certificates").
// It returns fault 401002; why a path does not hold is beneath it, for the log.
func (c *Connections) authenticateSigned(
	ctx context.Context, device identity.Principal, certificates []*x509.Certificate,
) (proof, error) {
	leaf, now := certificates[0], c.config.Now()
	if !attest.WithinLimits(certificates) {
		return refuse(fault.UnauthorizedAccess, "The device %q sent more certificates than are looked at, or one with "+
			"a key or a name of unusual size. Let it send its own certificate and those of its signers, and no others",
			device.ID)
	}
	if err := credential.CheckKeyLength(leaf.PublicKey); err != nil {
		return refuse(fault.UnauthorizedAccess, "The certificate of the device %q has %s. Make a new key with %s",
			device.ID, err, credential.UsableKeys)
	}
	if name := leaf.Subject.CommonName; name != device.ID {
		return refuse(fault.UnauthorizedAccess,
			"The certificate's common name is %.128q and not the device's id, %q. Make a certificate with that name",
			name, device.ID)
	}
	if err := checkValidity(device.ID, leaf, now); err != nil {
		return proof{}, err
	}
	chain, candidates, err := c.chain(ctx, certificates)
	if err != nil {
		return proof{}, err
	}
	why := fmt.Errorf("no authority of the hub is called %s", leaf.Issuer)
	for _, candidate := range candidates {
		if !candidate.IsVerified {
			why = fmt.Errorf("the authority %q is not verified: prove that you hold its key", candidate.Name)
			continue
		}
		top, err := x509.ParseCertificate(candidate.Certificate)
		if err != nil {
			continue // it was parsed when it came in
		}
		var trace attest.Trace
		if _, ok := chain.Descends(&trace, top, now); ok {
			return proof{method: message.AuthoritySigned, expiry: leaf.NotAfter,
				signer: &signer{candidate.Name, sha256.Sum256(candidate.Certificate)}}, nil
		}
		if failed, ok := trace.Failed(); ok {
			why = fmt.Errorf("%s. %s", failed.Saw, failed.Advice)
		}
	}
	return proof{}, fault.New(fault.UnauthorizedAccess, "The certificate of the device %q, signed by %.200q, does not "+
		"lead to a verified authority of this hub", device.ID, leaf.Issuer.String()).Because(why)
}

// chain puts together what a device sent with the authorities of the hub that it leads
// over, for devices that do not send the certificates in between, and returns these
// authorities too, the nearest first.
func (c *Connections) chain(
	ctx context.Context, certificates []*x509.Certificate,
) (chain *attest.Chain, over []authority.Stored, failure error) {
	chain = attest.NewChain(certificates, func(name []byte) []*x509.Certificate {
		known, err := c.config.Authorities.BySubject(ctx, name)
		over, failure = append(over, known...), errors.Join(failure, err)
		return authority.Certificates(known)
	}, &c.signatures)
	return chain, over, failure
}

// stillTrusts reports whether the authority is verified, and the one that it was.
func (c *Connections) stillTrusts(ctx context.Context, by *signer) bool {
	stored, err := c.config.Authorities.Load(ctx, by.name)
	return err == nil && stored.IsVerified && sha256.Sum256(stored.Certificate) == by.certificate
}

// revalidateSigned has the sessions of this node look again that began by an authority.
func (c *Connections) revalidateSigned() {
	ctx, cancel := context.WithTimeout(context.Background(), revalidateTimeout)
	defer cancel()
	for _, session := range c.sessions() {
		if session.proof.signer != nil {
			session.revalidate(ctx)
		}
	}
}

// watchedAuthorities tells that authorities have changed, on whatever node.
type watchedAuthorities struct {
	changed chan struct{}
	stop    context.CancelFunc
}

func (w *watchedAuthorities) watch(documents store.Documents, collection string) {
	ctx, cancel := context.WithCancel(context.Background())
	w.changed, w.stop = make(chan struct{}, 1), cancel
	documents.Watch(ctx, func() {
		select {
		case w.changed <- struct{}{}:
		default: // it will look in any case
		}
	}, collection)
}
