// Package authority keeps the certificate authorities that devices of a service may
// be signed by. One counts only once somebody has proved to hold its key, or has said
// that it is to be trusted.
package authority

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// Config says whose authorities these are.
type Config struct {
	Documents  store.Documents
	Collection string // of the documents that hold them
	Subjects   string // collection of their names by the subjects of their certificates
	Limit      int    // how many there may be; 0 means unlimited

	// CheckUnused returns the checks under which nothing names an authority, for the
	// commit that deletes it, and fault 409000 when something does. It is nil where nothing
	// names authorities.
	CheckUnused func(ctx context.Context, name string) ([]store.Change, error)

	Audit *audit.Log // of changes; nil keeps none
	Owner string     // what names begin with in the audit, such as "hub berth: "; may be ""
	Now   func() time.Time
}

// Authorities are those of one service. Their methods may be called at once from many
// goroutines; their errors are *fault.Error unless storage fails.
type Authorities struct {
	config   Config
	table    store.Table[Stored]
	subjects store.Table[string] // keys of authorities by the subjects of their certificates
}

// Open returns the authorities of a service.
func Open(config Config) *Authorities {
	return &Authorities{config: config,
		table:    store.NewTable[Stored](config.Documents, config.Collection),
		subjects: store.NewTable[string](config.Documents, config.Subjects)}
}

// Authority is a certificate authority that groups may name, or that a hub lets devices in
// by (Azure's certificate of a provisioning service or a hub, with the names of its
// management API). Devices come
// in by it only once it is verified: somebody proved to hold its key, or said on
// uploading it that it is to be trusted.
type Authority struct {
	Name       string                         `json:"name"`
	Info       credential.X509CertificateInfo `json:"info"`
	IsVerified bool                           `json:"isVerified"`
	Created    document.Time                  `json:"created"`
	Updated    document.Time                  `json:"updated"`
	ETag       string                         `json:"etag,omitempty"` // with its quotes: "\"…\""

	// VerificationCode is the common name of the certificate that proves possession,
	// once it was asked for.
	VerificationCode string `json:"verificationCode,omitempty"`

	// Warning says what will keep the authority's devices out, or soon: expired,
	// notYetValid or expiresSoon (30 days); "" for nothing.
	Warning string `json:"warning,omitempty"`
}

// Stored is an authority with its certificate, as it is stored.
type Stored struct {
	Authority
	Certificate []byte `json:"certificate"` // DER
}

// Get returns a certificate authority. It returns fault 404000 when there is none of
// this name.
func (a *Authorities) Get(ctx context.Context, name string) (Authority, error) {
	stored, err := a.Load(ctx, name)
	return a.describe(stored), err
}

// List returns at most limit authorities whose names start with prefix, in the order of
// their names, and where to go on: next is the after of the next call, or "" at the
// end.
func (a *Authorities) List(ctx context.Context, prefix, after string, limit int) (found []Authority, next string,
	err error) {
	entries, err := a.table.List(ctx, key(prefix), after, limit)
	if err != nil {
		return nil, "", err
	}
	found = make([]Authority, len(entries))
	for i, entry := range entries {
		entry.Value.ETag = store.QuoteETag(entry.ETag)
		found[i] = a.describe(entry.Value)
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return found, next, nil
}

// Put uploads an authority's certificate (PEM, DER, or base64 of either) under a name,
// or replaces one, under the condition ifMatch: "" for any state, "*" for an existing
// one, or the ETag it must have. trusted verifies it at once, without proof of
// possession. A certificate that takes the place of another has to be verified anew. It
// returns fault 400004 for what is wrong, with the place in Info["field"] (name or
// certificate), 412001 when the condition does not hold, and 403002 when there are as
// many as there may be.
func (a *Authorities) Put(ctx context.Context, name string, certificate []byte, trusted bool,
	ifMatch string) (Authority, error) {
	if err := checkName(name); err != nil {
		return Authority{}, err
	}
	parsed, err := credential.ParseEnrollable(certificate)
	if err != nil {
		return Authority{}, fault.About("certificate",
			fault.New(fault.ArgumentInvalid, "The certificate is refused: %v", err))
	}
	if len(parsed) > 1 {
		return Authority{}, fault.About("certificate", fault.New(fault.ArgumentInvalid,
			"The file holds %d certificates. Upload each authority by itself", len(parsed)))
	}
	if err := CheckCertificate(parsed[0]); err != nil {
		return Authority{}, fault.About("certificate", err)
	}
	return a.change(ctx, name, ifMatch, true, func(changed *Stored) error {
		if !bytes.Equal(changed.Certificate, parsed[0].Raw) {
			changed.IsVerified, changed.VerificationCode = false, ""
		}
		changed.IsVerified = changed.IsVerified || trusted
		changed.Certificate, changed.Info = parsed[0].Raw, *credential.Describe(parsed[0])
		return nil
	})
}

// CheckCertificate refuses a certificate by which no device could come in, with fault
// 400004.
func CheckCertificate(certificate *x509.Certificate) error {
	if !certificate.BasicConstraintsValid || !certificate.IsCA {
		return fault.New(fault.ArgumentInvalid,
			"The certificate %.200q is not an authority: it has no basic constraint CA:TRUE. Use the certificate that "+
				"signs those of the devices, not one of a device's own",
			certificate.Subject.String())
	}
	if certificate.KeyUsage != 0 && certificate.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fault.New(fault.ArgumentInvalid,
			"The certificate %.200q may not sign certificates: its key usage lacks keyCertSign",
			certificate.Subject.String())
	}
	return nil
}

// NewVerificationCode makes the code that proves possession of an authority's key: the
// common name of a certificate that the authority is to sign. It replaces the code that was
// made before. ifMatch is as in Put. It returns the faults 404000 and 412001.
func (a *Authorities) NewVerificationCode(ctx context.Context, name, ifMatch string) (Authority, error) {
	return a.change(ctx, name, ifMatch, false, func(changed *Stored) error {
		var code [24]byte
		rand.Read(code[:]) // never fails, see crypto/rand
		changed.VerificationCode = strings.ToUpper(hex.EncodeToString(code[:]))
		return nil
	})
}

// Verify takes a certificate that the authority signed and whose common name is the
// verification code. ifMatch is as in Put. It returns fault 400004 for what does not
// prove possession, and says why.
func (a *Authorities) Verify(ctx context.Context, name string, certificate []byte, ifMatch string) (Authority, error) {
	return a.change(ctx, name, ifMatch, false, func(changed *Stored) error {
		if changed.VerificationCode == "" {
			return fault.New(fault.ArgumentInvalid,
				"The authority %q has no verification code yet. Ask for one, and sign "+
					"a certificate with it as common name", changed.Name)
		}
		parsed, err := credential.ParseCertificates(certificate)
		if err != nil {
			return fault.About("certificate", fault.New(fault.ArgumentInvalid, "The certificate is refused: %v", err))
		}
		if err := changed.checkProof(parsed[0], a.config.Now()); err != nil {
			return fault.About("certificate", err)
		}
		changed.IsVerified, changed.VerificationCode = true, ""
		return nil
	})
}

// checkProof holds a certificate against what proves possession of the authority's key.
func (s *Stored) checkProof(proof *x509.Certificate, now time.Time) error {
	authority, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return err
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(proof.Subject.CommonName), []byte(s.VerificationCode)) != 1:
		return fault.New(fault.ArgumentInvalid,
			"The certificate's common name is %.128q and not the verification code. "+
				"Make one with the present code: each new code replaces the one before", proof.Subject.CommonName)
	case now.Before(proof.NotBefore) || now.After(proof.NotAfter):
		return fault.New(fault.ArgumentInvalid, "The certificate is valid from %s to %s only. Make a new one",
			proof.NotBefore.UTC().Format(time.RFC3339), proof.NotAfter.UTC().Format(time.RFC3339))
	case proof.CheckSignatureFrom(authority) != nil:
		return fault.New(fault.ArgumentInvalid,
			"The certificate was not signed with the key of the authority %q. Sign it "+
				"with the key that belongs to the certificate that was uploaded", s.Name)
	}
	return nil
}

// Delete removes an authority under the condition ifMatch, as in Put. While something
// names it (Config.CheckUnused), that is fault 409000, unless force is set: devices are
// refused without it. One that can't be read lets nobody in, and is removed all the
// same. It returns the faults 404000 and 412001 too.
func (a *Authorities) Delete(ctx context.Context, name, ifMatch string, force bool) error {
	_, err := store.RetryOnConflict(ctx, func() ([]string, error) {
		prior, err := a.Load(ctx, name)
		unreadable := store.IsUnreadable(err)
		if err != nil && !unreadable {
			return nil, err
		}
		if err := fault.Precondition("certificate authority", ifMatch, prior.ETag); err != nil {
			return nil, err
		}
		changes := append(
			a.config.Audit.Change(ctx, audit.Deleted, audit.Authority, a.config.Owner+cmp.Or(prior.Name, name),
				nil, nil),
			a.table.Delete(key(name), store.IfMatch(store.UnquoteETag(prior.ETag))))
		if !unreadable { // else its name leads nowhere
			changes = append(changes, a.removeSubject(prior, "")...)
		}
		if !force && !unreadable && a.config.CheckUnused != nil {
			unused, err := a.config.CheckUnused(ctx, prior.Name)
			if err != nil {
				return nil, err
			}
			changes = append(changes, unused...)
		}
		return a.config.Documents.Commit(ctx, changes...)
	})
	return err
}

// change changes an authority by compare-and-swap; create says whether it may be a new
// one.
func (a *Authorities) change(ctx context.Context, name, ifMatch string, create bool,
	change func(*Stored) error) (Authority, error) {
	return store.RetryOnConflict(ctx, func() (Authority, error) {
		prior, err := a.Load(ctx, name)
		exists, unreadable := err == nil, store.IsUnreadable(err)
		if err != nil && !(create && (unreadable || errors.Is(err, fault.NotFound))) {
			return Authority{}, err
		}
		err = fault.PreconditionOf("certificate authority", ifMatch, prior.ETag, exists || unreadable)
		if err != nil {
			return Authority{}, err
		}
		now := document.Time{Time: a.config.Now().UTC()}
		changed, match := prior, store.IfMatch(store.UnquoteETag(prior.ETag))
		if !exists {
			changed = Stored{Authority: Authority{Name: name, Created: now}}
		}
		if !exists && !unreadable {
			match = store.Absent
		}
		if err := change(&changed); err != nil {
			return Authority{}, err
		}
		changed.Updated, changed.ETag = now, ""
		changes := a.put(changed, match)
		if exists {
			subject, _ := changed.subjectKeys()
			changes = append(changes, a.removeSubject(prior, subject)...)
			changes = append(changes, a.config.Audit.Change(ctx, audit.Updated, audit.Authority, a.config.Owner+name,
				a.describe(prior), a.describe(changed))...)
		} else {
			if !unreadable { // else it takes the place of one
				if err := a.checkRoom(ctx); err != nil {
					return Authority{}, err
				}
			}
			changes = append(changes, a.config.Audit.Change(ctx, audit.Created, audit.Authority, a.config.Owner+name, nil,
				nil)...)
		}
		etags, err := a.config.Documents.Commit(ctx, changes...)
		if err != nil {
			return Authority{}, err
		}
		changed.ETag = store.QuoteETag(etags[0])
		return a.describe(changed), nil
	})
}

// checkRoom returns fault 403002 when there are as many as there may be.
func (a *Authorities) checkRoom(ctx context.Context) error {
	if a.config.Limit <= 0 {
		return nil
	}
	count, err := a.table.Count(ctx)
	if err == nil && count >= a.config.Limit {
		err = fault.New(fault.QuotaExceeded, "There are %d certificate authorities, which is the limit of the service",
			a.config.Limit)
	}
	return err
}

// put are the changes that store an authority, its own first.
func (a *Authorities) put(authority Stored, match store.Match) []store.Change {
	subject, _ := authority.subjectKeys()
	return []store.Change{a.table.Put(key(authority.Name), match, authority),
		a.subjects.Put(subject, store.Always, key(authority.Name))}
}

// Restore returns the changes that store an authority as it once was, whatever there is
// now.
func (a *Authorities) Restore(authority Stored) []store.Change { return a.put(authority, store.Always) }

// Load returns an authority with its certificate. It returns fault 404000 when there is
// none of this name. One that can't be read comes with its ETag.
func (a *Authorities) Load(ctx context.Context, name string) (Stored, error) {
	if err := checkName(name); err != nil {
		return Stored{}, err
	}
	stored, etag, err := a.table.Get(ctx, key(name))
	if errors.Is(err, store.ErrNotFound) {
		return Stored{}, fault.New(fault.NotFound, "There is no certificate authority %q", name)
	}
	stored.ETag = store.QuoteETag(etag)
	return stored, err
}

// Unchanged returns the check that an authority still is as it was loaded.
func (a *Authorities) Unchanged(loaded Stored) store.Change {
	return store.Change{Collection: a.table.Collection, Key: key(loaded.Name),
		Match: store.IfMatch(store.UnquoteETag(loaded.ETag)), Check: true}
}

// maxBySubject bounds the authorities of one name: a stranger chooses which names are
// looked for.
const maxBySubject = 10

// BySubject returns the authorities whose certificates have this encoded subject, in
// whatever spelling, 10 at most. Those that can't be read are left out.
func (a *Authorities) BySubject(ctx context.Context, subject []byte) (found []Stored, err error) {
	names, err := a.namesBySubject(ctx, subject)
	for _, name := range names {
		stored, _, err := a.table.Get(ctx, name)
		switch {
		case err == nil:
			found = append(found, stored)
		case !errors.Is(err, store.ErrNotFound) && !store.IsUnreadable(err):
			return found, err
		}
	}
	return found, err
}

// Certificates are those of authorities, but for what can't be parsed: it was when it came in.
func Certificates(authorities []Stored) (certificates []*x509.Certificate) {
	for _, stored := range authorities {
		if certificate, err := x509.ParseCertificate(stored.Certificate); err == nil {
			certificates = append(certificates, certificate)
		}
	}
	return certificates
}

func (a *Authorities) namesBySubject(ctx context.Context, subject []byte) (names []string, err error) {
	present, former := credential.NameKeys(subject)
	for _, subject := range []string{present, former} {
		entries, err := a.subjects.List(ctx, subject+"/", "", maxBySubject)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if len(names) < maxBySubject && !slices.Contains(names, entry.Value) {
				names = append(names, entry.Value)
			}
		}
	}
	return names, nil
}

// describe adds what depends on the time.
func (a *Authorities) describe(stored Stored) Authority {
	shown, now := stored.Authority, a.config.Now()
	switch info := shown.Info; {
	case info.NotAfterUTC.IsZero():
	case now.After(info.NotAfterUTC.Time):
		shown.Warning = "expired"
	case now.Before(info.NotBeforeUTC.Time):
		shown.Warning = "notYetValid"
	case info.NotAfterUTC.Sub(now) < credential.ExpiresSoon:
		shown.Warning = "expiresSoon"
	}
	return shown
}

// subjectKeys are where the authority is found by the name that certificates have as
// their issuer: now, and in versions before.
func (s Stored) subjectKeys() (present, former string) {
	certificate, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return key(s.Name), key(s.Name) // it was parsed when it came in
	}
	present, former = credential.NameKeys(certificate.RawSubject)
	return present + "/" + key(s.Name), former + "/" + key(s.Name)
}

// removeSubject removes an authority from where it is found, but for kept.
func (a *Authorities) removeSubject(authority Stored, kept string) (changes []store.Change) {
	present, former := authority.subjectKeys()
	for _, subject := range slices.Compact([]string{present, former}) {
		if subject != kept {
			changes = append(changes, a.subjects.Delete(subject, store.Always))
		}
	}
	return changes
}

// Intact implements store.Checkable: what is read from the store is held against what
// the code relies on.
func (s *Stored) Intact() error {
	if s.Name == "" || len(s.Certificate) == 0 {
		return errors.New("it has no name, or no certificate")
	}
	return nil
}

var _ store.Checkable = (*Stored)(nil)

// key is what an authority is stored under: names have no case.
func key(name string) string { return strings.ToLower(name) }

// checkName holds a name against the rules of Azure's management API: up to 64 letters,
// digits and - . _
func checkName(name string) error {
	valid := name != "" && len(name) <= 64
	for i := range len(name) {
		c := name[i]
		alphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		valid = valid && (alphanumeric || strings.IndexByte("-._", c) >= 0)
	}
	if !valid {
		return fault.About("name", fault.New(fault.ArgumentInvalid, "The name %.64q is not valid for a certificate "+
			"authority: up to 64 letters, digits, dashes, full stops and underscores are allowed", name))
	}
	return nil
}
