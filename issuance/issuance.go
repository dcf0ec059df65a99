// Package issuance is the built-in certificate authority that gives devices their
// operational certificates: for whom (credential policies), by whom (issuing
// authorities), which there are, and which were revoked. The provisioning service
// and the hubs both ask it.
package issuance

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Policy says what certificates devices get. Enrollments name one in
// credentialPolicyName, as in Azure's DPS since 2025-07-01-preview.
type Policy struct {
	Name            string   `json:"name"`
	Authority       string   `json:"issuingAuthority"` // the issuing authority that signs
	ValidityMinutes int      `json:"validityMinutes"`  // 1 to 525,600 (a year); 30 days when 0
	KeyTypes        []string `json:"keyTypes"`         // such as ec-p256 and rsa-2048; all of KeyTypes when empty

	// patterns of names that a request may ask for: {registrationId} stands for the
	// device's, * for anything without a full stop
	DNSNames []string `json:"dnsNames,omitempty"`

	ETag string `json:"etag,omitempty"`
}

// KeyTypes are the kinds of keys that certificates are issued for.
var KeyTypes = []string{"ec-p256", "ec-p384", "ec-p521", "rsa-2048", "rsa-3072", "rsa-4096"}

// Authority is an issuing authority.
type Authority struct {
	Name        string    `json:"name"`
	Certificate string    `json:"certificate,omitempty"` // PEM; "" of one whose request is not signed yet
	Root        string    `json:"root,omitempty"`        // PEM of the authorities above it, the root last
	Created     time.Time `json:"created"`
	NotAfter    time.Time `json:"notAfter,omitzero"` // of the certificate
	Revoked     time.Time `json:"revoked,omitzero"`  // when it was
	Request     string    `json:"request,omitempty"` // PEM, of one that an authority of the operator's own signs
	ETag        string    `json:"etag,omitempty"`
}

// Certificate is one that was issued.
type Certificate struct {
	Thumbprint     string    `json:"thumbprint"` // SHA-256 in upper-case hexadecimal
	RegistrationID string    `json:"registrationId"`
	Policy         string    `json:"credentialPolicyName"`
	Authority      string    `json:"issuingAuthority"`
	SerialNumber   string    `json:"serialNumber"` // hexadecimal
	KeyType        string    `json:"keyType"`
	Issued         time.Time `json:"issued"`
	NotAfter       time.Time `json:"notAfter"`
	Revoked        time.Time `json:"revoked,omitzero"` // when it was
}

// Intact implements store.Checkable.
func (p *Policy) Intact() error {
	if p.Name == "" || p.Authority == "" {
		return errors.New("it has no name, or names no issuing authority")
	}
	return nil
}

// Intact implements store.Checkable.
func (c *Certificate) Intact() error {
	if c.Thumbprint == "" || c.RegistrationID == "" {
		return errors.New("it has no thumbprint, or no registration id")
	}
	return nil
}

// Revocation is what devices may no longer use, for those who hold their
// connections.
type Revocation struct {
	Thumbprint     string // of one certificate, or
	Authority      string // of all that this one signed, or
	RegistrationID string // of all that were issued to this device
}

// Config is what an issuing service is made of.
type Config struct {
	Documents store.Documents
	Now       func() time.Time
	Trusted   func() bool      // whether what is old by Now may be deleted; always when nil
	Earliest  func() time.Time // the earliest that it may be when Now can't be trusted; Now when nil
	Exact     bool             // requests are base64 alone, as Azure documents them, without armour and line breaks
	Audit     *audit.Log       // nil keeps none
}

// Service issues certificates. Its methods may be called at once from many
// goroutines; their errors are *fault.Error unless storage fails.
type Service struct {
	config       Config
	policies     store.Table[Policy]
	authorities  store.Table[storedAuthority]
	certificates store.Table[Certificate]
	devices      store.Table[string] // thumbprints by registration id and time

	mutex       sync.Mutex
	opened      map[string]openedAuthority // by name
	onRevoke    []func(Revocation)
	enrollments Enrollments // nil before Follow
}

// openedAuthority is one whose key was parsed, with the certificate it had then.
type openedAuthority struct {
	*credential.Authority
	certificate string // PEM
}

// storedAuthority is an authority with its key.
type storedAuthority struct {
	Authority
	Key     string    `json:"key"`              // PEM; "" of one that was deleted
	Deleted time.Time `json:"deleted,omitzero"` // what it has signed stays void, and its name taken
}

// Intact implements store.Checkable.
func (a *storedAuthority) Intact() error {
	if !a.Deleted.IsZero() && a.Name != "" {
		return nil
	}
	if a.Name == "" || a.Certificate == "" && a.Request == "" || a.Key == "" {
		return errors.New("it has no name, no certificate, or no key")
	}
	return nil
}

// CertificateRecords is the collection of the certificates that were issued, as an
// Inspector knows it.
const CertificateRecords = "issuance/certificates"

const (
	// DefaultPolicy and DefaultAuthority are there from the beginning.
	DefaultPolicy    = "default"
	DefaultAuthority = "default"

	rootName          = "root" // the one that signs issuing authorities, and nothing else
	rootValidity      = 20 * 365 * 24 * time.Hour
	authorityValidity = 10 * 365 * 24 * time.Hour
	defaultValidity   = 30 * 24 * 60 // minutes
	maxValidity       = 365 * 24 * 60
	clockSlack        = time.Hour // certificates begin earlier than now: devices' clocks are late
	maxPatterns       = 20
	maxNames          = 20
	expiredKept       = 90 * 24 * time.Hour
)

// Open returns the service on its documents: at the first time with a root, and an
// authority and a policy called default.
func Open(ctx context.Context, config Config) (*Service, error) {
	s := &Service{
		config:       config,
		policies:     store.NewTable[Policy](config.Documents, "issuance/policies"),
		authorities:  store.NewTable[storedAuthority](config.Documents, "issuance/authorities"),
		certificates: store.NewTable[Certificate](config.Documents, CertificateRecords),
		devices:      store.NewTable[string](config.Documents, "issuance/devices"),
		opened:       make(map[string]openedAuthority),
	}
	if err := s.begin(ctx); err != nil {
		return nil, fmt.Errorf("open the issuing authorities: %w", err)
	}
	return s, nil
}

// begin makes what a new service has.
func (s *Service) begin(ctx context.Context) error {
	_, _, err := s.authorities.Get(ctx, rootName)
	if store.IsUnreadable(err) {
		return fmt.Errorf("%w. Without this key no certificate can be issued or judged: "+
			"restore the data folder from a backup", err)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	now := s.config.Now().UTC()
	commonName := "Berth operational root " + now.Format("2006-01-02")
	root, err := credential.NewAuthority(commonName, now.Add(-clockSlack), rootValidity)
	if err != nil {
		return err
	}
	stored, err := newStoredAuthority(rootName, root, "", now)
	if err != nil {
		return err
	}
	first, err := s.newSubordinate(DefaultAuthority, root, stored.Certificate, now)
	if err != nil {
		return err
	}
	_, err = s.config.Documents.Commit(ctx,
		s.authorities.Put(rootName, store.Absent, stored),
		s.authorities.Put(DefaultAuthority, store.Absent, first),
		s.policies.Put(DefaultPolicy, store.Always, Policy{
			Name:            DefaultPolicy,
			Authority:       DefaultAuthority,
			ValidityMinutes: defaultValidity,
			KeyTypes:        KeyTypes,
		}))
	if _, conflict := store.IsConflict(err); conflict {
		return nil // another node was faster
	}
	return err
}

func (s *Service) newSubordinate(
	name string, root *credential.Authority, rootPEM string, now time.Time,
) (storedAuthority, error) {
	authority, err := root.NewSubordinate("Berth operational "+name, now.Add(-clockSlack), authorityValidity)
	if err != nil {
		return storedAuthority{}, err
	}
	return newStoredAuthority(name, authority, rootPEM, now)
}

func newStoredAuthority(
	name string, authority *credential.Authority, rootPEM string, now time.Time,
) (storedAuthority, error) {
	certificatePEM, keyPEM, err := authority.PEM()
	return storedAuthority{
		Authority: Authority{
			Name:        name,
			Certificate: string(certificatePEM),
			Root:        rootPEM,
			Created:     now,
			NotAfter:    authority.Certificate.NotAfter.UTC(),
		},
		Key: string(keyPEM),
	}, err
}

// OnRevoke has a function called after each revocation.
func (s *Service) OnRevoke(callback func(Revocation)) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.onRevoke = append(s.onRevoke, callback)
}

func (s *Service) notifyRevoked(revocation Revocation) {
	s.mutex.Lock()
	callbacks := slices.Clone(s.onRevoke)
	s.mutex.Unlock()
	for _, callback := range callbacks {
		callback(revocation)
	}
}

// Request is a device's wish for a certificate, checked against its policy.
type Request struct {
	csr            *x509.CertificateRequest
	policy         Policy
	registrationID string
}

// Check reads a certificate signing request and holds it against a policy. What is
// wrong with it is fault 400004. A policy that is not there, or whose authority can't
// sign, is the operator's to put right: fault 503001.
func (s *Service) Check(ctx context.Context, policyName, registrationID, csr string) (Request, error) {
	policy, err := s.usablePolicy(ctx, policyName)
	if err != nil {
		return Request{}, err
	}
	if err := s.CheckEncoding(csr); err != nil {
		return Request{}, err
	}
	request, err := credential.ParseCSR(csr)
	if err != nil {
		return Request{}, fault.New(fault.ArgumentInvalid, "csr: %s", err)
	}
	kind := credential.KeyKind(request.PublicKey)
	switch {
	case !strings.EqualFold(request.Subject.CommonName, registrationID):
		return Request{}, fault.New(fault.ArgumentInvalid,
			"csr: its common name must be the registration id %q, not %.128q",
			registrationID, request.Subject.CommonName)
	case len(request.Subject.Names) > 1:
		return Request{}, fault.New(fault.ArgumentInvalid, "csr: its subject must be a common name alone, not %.200q",
			request.Subject.String())
	case !slices.Contains(policy.KeyTypes, kind):
		return Request{}, fault.New(fault.ArgumentInvalid, "csr: its key is %.32q. The policy %s takes %s",
			cmp.Or(kind, request.PublicKeyAlgorithm.String()), policy.Name, strings.Join(policy.KeyTypes, ", "))
	case len(request.IPAddresses)+len(request.URIs)+len(request.EmailAddresses) > 0:
		return Request{}, fault.New(fault.ArgumentInvalid,
			"csr: it asks for an IP address, a URI or an e-mail address. "+
				"Only DNS names that the policy allows are possible")
	case len(request.DNSNames) > maxNames:
		return Request{}, fault.New(fault.ArgumentInvalid, "csr: it asks for %d DNS names, the limit is %d",
			len(request.DNSNames), maxNames)
	}
	for _, name := range request.DNSNames {
		if !policy.allows(name, registrationID) {
			return Request{}, fault.New(fault.ArgumentInvalid,
				"csr: it asks for the DNS name %.253q, which the policy %s does not allow", name, policy.Name)
		}
	}
	return Request{request, policy, registrationID}, nil
}

// usablePolicy is a policy whose authority can sign, or fault 503001: what is missing is
// nothing that a device could do better.
func (s *Service) usablePolicy(ctx context.Context, name string) (Policy, error) {
	policy, err := s.Policy(ctx, name)
	if errors.Is(err, fault.NotFound) {
		return policy, fault.New(fault.Unavailable,
			"The credential policy %.64q was deleted. Whoever runs the service must make it again, or let the "+
				"enrollment name another", name)
	}
	if err == nil {
		_, _, err = s.issuingAuthority(ctx, policy.Authority)
	}
	return policy, err
}

// allows reports whether one of the patterns stands for the name.
func (p Policy) allows(name, registrationID string) bool {
	labels := strings.Split(strings.ToLower(name), ".")
	return slices.ContainsFunc(p.DNSNames, func(pattern string) bool {
		wanted := strings.Split(strings.ToLower(strings.ReplaceAll(pattern, "{registrationId}", registrationID)), ".")
		if len(wanted) != len(labels) {
			return false
		}
		for i := range wanted {
			if ok, err := path.Match(wanted[i], labels[i]); !ok || err != nil {
				return false
			}
		}
		return true
	})
}

// Issue makes the certificate and returns its chain, the device's own first and the
// root last, in DER. It holds once the changes are committed.
func (s *Service) Issue(ctx context.Context, request Request) (chain [][]byte, changes []store.Change, err error) {
	stored, authority, err := s.issuingAuthority(ctx, request.policy.Authority)
	if err != nil {
		return nil, nil, err
	}
	now := s.config.Now().UTC()
	notAfter := now.Add(time.Duration(request.policy.ValidityMinutes) * time.Minute)
	if notAfter.After(authority.Certificate.NotAfter) {
		notAfter = authority.Certificate.NotAfter
	}
	certificate, err := authority.IssueDevice(request.csr, request.registrationID, request.csr.DNSNames,
		s.notBefore(now), notAfter)
	if err != nil {
		return nil, nil, err
	}
	issued := Certificate{
		Thumbprint:     thumbprint(certificate),
		RegistrationID: request.registrationID,
		Policy:         request.policy.Name,
		Authority:      stored.Name,
		SerialNumber:   certificate.SerialNumber.Text(16),
		KeyType:        credential.KeyKind(certificate.PublicKey),
		Issued:         now,
		NotAfter:       certificate.NotAfter.UTC(),
	}
	forgotten, err := s.forget(ctx, issued.RegistrationID, now)
	if err != nil {
		return nil, nil, err
	}
	key := deviceKey(issued.RegistrationID, issued.Issued, issued.Thumbprint)
	chain = append([][]byte{certificate.Raw, authority.Certificate.Raw}, stored.issuerChain()...)
	return chain, append(forgotten,
		s.certificates.Put(issued.Thumbprint, store.Absent, issued),
		s.devices.Put(key, store.Always, issued.Thumbprint)), nil
}

// issuerChain are the authorities above this one in DER, the root last.
func (a Authority) issuerChain() (chain [][]byte) {
	for block, rest := pem.Decode([]byte(a.Root)); block != nil; block, rest = pem.Decode(rest) {
		chain = append(chain, block.Bytes)
	}
	return chain
}

// notBefore is from when on a certificate is good that is made now.
func (s *Service) notBefore(now time.Time) time.Time {
	if s.config.Earliest != nil {
		if earliest := s.config.Earliest(); earliest.Before(now) {
			now = earliest
		}
	}
	return now.Add(-clockSlack)
}

// forget removes certificates of a device that expired long ago: the oldest two, so
// that they become fewer with each that is issued.
func (s *Service) forget(
	ctx context.Context, registrationID string, now time.Time,
) (changes []store.Change, err error) {
	if s.config.Trusted != nil && !s.config.Trusted() {
		return nil, nil
	}
	const most = 2
	entries, err := s.devices.List(ctx, deviceFolder(registrationID), "", most)
	for _, entry := range entries {
		var old Certificate
		old, _, err = s.certificates.Get(ctx, entry.Value)
		if store.IsUnreadable(err) {
			err = nil // somebody must look at it
			continue
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err == nil && now.Sub(old.NotAfter) < expiredKept {
			break // those after it are younger
		}
		changes = append(changes,
			s.devices.Delete(entry.Key, store.Always),
			s.certificates.Delete(entry.Value, store.Always))
		err = nil
	}
	return changes, err
}

// issuingAuthority returns an authority that may sign.
func (s *Service) issuingAuthority(ctx context.Context, name string) (storedAuthority, *credential.Authority, error) {
	stored, _, err := s.authorities.Get(ctx, strings.ToLower(name))
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && !stored.Deleted.IsZero():
		return stored, nil, fault.New(fault.Unavailable,
			"There is no issuing authority %.64q. Whoever runs the service must let the credential policy name another",
			name)
	case err != nil:
		return stored, nil, err
	case !stored.Revoked.IsZero():
		return stored, nil, fault.New(fault.Unavailable, "The issuing authority %s was revoked. "+
			"Whoever runs the service must let the credential policy name another", name)
	case stored.Certificate == "":
		return stored, nil, fault.New(fault.Unavailable,
			"The issuing authority %s has no certificate yet. Whoever runs the service must activate it", name)
	case s.config.Now().After(stored.NotAfter):
		return stored, nil, fault.New(fault.Unavailable,
			"The certificate of the issuing authority %s expired at %s. Whoever runs the service must renew it, or "+
				"let the credential policy name another", name, stored.NotAfter.Format(time.RFC3339))
	}
	authority, err := s.parse(stored)
	return stored, authority, err
}

// parse is the authority ready to sign.
func (s *Service) parse(stored storedAuthority) (*credential.Authority, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if opened := s.opened[stored.Name]; opened.certificate == stored.Certificate && opened.Authority != nil {
		return opened.Authority, nil
	}
	authority, err := credential.ParseAuthority([]byte(stored.Certificate), []byte(stored.Key))
	if err == nil {
		s.opened[stored.Name] = openedAuthority{authority, stored.Certificate}
	}
	return authority, err
}

// Verify judges the certificate that a device shows to its hub. The device must be
// the one it was issued to. What is wrong with it is fault 401002.
func (s *Service) Verify(
	ctx context.Context, certificate *x509.Certificate, registrationID string,
) (Certificate, error) {
	issued, _, err := s.certificates.Get(ctx, thumbprint(certificate))
	now := s.config.Now()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return issued, fault.New(fault.UnauthorizedAccess,
			"This server did not issue the certificate. The device must show the operational certificate it got when "+
				"it registered")
	case err != nil:
		return issued, err
	case !strings.EqualFold(issued.RegistrationID, registrationID):
		return issued, fault.New(fault.UnauthorizedAccess, "The certificate was issued to %q, not to %q",
			issued.RegistrationID, registrationID)
	case !issued.Revoked.IsZero():
		return issued, fault.New(fault.UnauthorizedAccess,
			"The certificate was revoked at %s. Register again with a new request", issued.Revoked.Format(time.RFC3339))
	case now.Before(certificate.NotBefore) || now.After(certificate.NotAfter):
		return issued, fault.New(fault.UnauthorizedAccess,
			"The certificate is valid from %s to %s only. Register again with a new request",
			certificate.NotBefore.UTC().Format(time.RFC3339), certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	authority, _, err := s.authorities.Get(ctx, issued.Authority)
	if err != nil {
		return issued, err
	}
	if !authority.Revoked.IsZero() {
		return issued, fault.New(fault.UnauthorizedAccess,
			"The authority %s that issued the certificate was revoked at %s. Register again with a new request",
			authority.Name, authority.Revoked.Format(time.RFC3339))
	}
	return issued, nil
}

func thumbprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// deviceKey orders the certificates of a device by their age.
func deviceKey(registrationID string, issued time.Time, thumbprint string) string {
	return fmt.Sprintf("%s%016x/%s", deviceFolder(registrationID), uint64(issued.UnixNano()), thumbprint)
}

// deviceFolder is what the keys of a device's certificates begin with. Registration
// ids have no slash.
func deviceFolder(registrationID string) string { return strings.ToLower(registrationID) + "/" }
