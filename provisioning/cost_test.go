package provisioning

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/segment"
)

// hostileChain is what costs a verifier most: certificates with two names in turn,
// each with a key of its own on P-521, that all could have signed each other. The
// first is the device's, and its issuer is A.
func hostileChain(t testing.TB, id string, length int) credential.Evidence {
	t.Helper()
	evidence := credential.Evidence{Protocol: "mqtt", RemoteAddr: "192.0.2.1:1"}
	names := []string{"A", "B"}
	for i := range length {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		subject := names[(i+1)%2]
		if i == 0 {
			subject = id
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: subject},
			NotBefore: noon.Add(-time.Hour),
			NotAfter:  noon.AddDate(10, 0, 0), BasicConstraintsValid: true, IsCA: i > 0, SubjectKeyId: []byte("one"),
			AuthorityKeyId: []byte("one")}
		issuer := *template
		issuer.Subject = pkix.Name{CommonName: names[i%2]}
		der, err := x509.CreateCertificate(rand.Reader, template, &issuer, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		evidence.Certificates = append(evidence.Certificates, certificate)
	}
	return evidence
}

// work is what a call costs.
func (h *fixture) work(call func()) Work {
	before := h.Work()
	call()
	after := h.Work()
	return Work{after.Signatures - before.Signatures, after.GroupsTried - before.GroupsTried}
}

// TestHostileChain counts the signatures that a stranger's chain makes the service
// check: none with the stranger's own keys, and none twice.
func TestHostileChain(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	register := func(evidence credential.Evidence, code fault.Code) {
		t.Helper()
		if _, err := h.OpenSession(scope, "d1", evidence).Register(ctx, nil); !errors.Is(err, code) {
			t.Errorf("the error is %v, want %d", err, code)
		}
	}
	for name, length := range map[string]int{"fifteen": 15, "seventy-one": 71} {
		evidence := hostileChain(t, "d1", length)
		if cost := h.work(func() { register(evidence, fault.UnauthorizedAccess) }); cost.Signatures != 0 {
			t.Errorf("%s certificates and nothing enrolled: %d signatures", name, cost.Signatures)
		}
	}
	for i := range 10 { // all of them with the names and the key identifier of the chain
		authority := certify(t, []string{"A", "B"}[i%2], nil, true)
		if _, err := h.Groups().Put(ctx,
			signedGroup(fmt.Sprint("g", i), &enroll.X509Certificate{Certificate: authority.pem}, nil), ""); err != nil {
			t.Fatal(err)
		}
	}
	evidence := hostileChain(t, "d1", 15)
	if cost := h.work(func() { register(evidence, fault.UnauthorizedAccess) }); cost.Signatures == 0 ||
		cost.Signatures > 80 {
		t.Errorf(
			"with ten authorities of these names: %d signatures, want 5 authorities for each of 15 certificates at most", cost.Signatures)
	}
	if cost := h.work(func() { register(evidence, fault.UnauthorizedAccess) }); cost.Signatures != 0 {
		t.Errorf("the same once more: %d signatures", cost.Signatures)
	}
	if cost := h.work(func() { register(hostileChain(t, "d1", 71), fault.UnauthorizedAccess) }); cost.Signatures != 0 {
		t.Errorf("a chain beyond the limit: %d signatures", cost.Signatures)
	}
}

// TestManyAuthoritiesOfOneName looks for the one that signed a device, by its key
// identifier; without one there is an end to it.
func TestManyAuthoritiesOfOneName(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	var last *issued
	for i := range 300 {
		last = certify(t, "Factory", nil, true)
		group := enroll.StoredGroup{Group: signedGroup(fmt.Sprintf("g%03d", i), nil, nil),
			Signing: [2][]byte{last.certificate.Raw}}
		group.ReprovisionPolicy, group.ProvisioningStatus = &enroll.ReprovisionPolicy{}, enroll.Enabled
		group.Attestation.X509 = &enroll.X509Attestation{CAReferences: &enroll.X509CAReferences{}}
		if _, err := h.config.Documents.Commit(ctx, h.groups.Restore(group)...); err != nil {
			t.Fatal(err)
		}
	}
	cost := h.work(func() {
		state, failed, err := h.registerChain("d1", certify(t, "d1", last, false))
		if err != nil || state.X509.EnrollmentGroupID != "g299" {
			t.Errorf("the device of the last group: %+v, %+v, %v", state, failed, err)
		}
	})
	if cost.Signatures != 1 {
		t.Errorf("its authority was found with %d signatures", cost.Signatures)
	}
	stranger := certify(t, "Factory", nil, true)
	stranger.certificate.SubjectKeyId = nil // then what it signs names no key
	cost = h.work(func() {
		if _, failed, err := h.registerChain("d2", certify(t, "d2", stranger, false)); !errors.Is(err,
			fault.UnauthorizedAccess) || failed.Name != "chain" {
			t.Errorf("a stranger's: %+v, %v", failed, err)
		}
	})
	if cost.Signatures > maxSigners {
		t.Errorf("a stranger's device cost %d signatures", cost.Signatures)
	}
}

// TestSignersOfFormerVersions are found and removed: they are kept by the name as it is
// encoded, or without the key identifier.
func TestSignersOfFormerVersions(t *testing.T) {
	for which := range 2 {
		signerOfFormerVersion(t, which)
	}
}

func signerOfFormerVersion(t *testing.T, which int) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	authority := certify(t, "Factory", nil, true)
	if _, err := h.Groups().Put(ctx, signedGroup("g", &enroll.X509Certificate{Certificate: authority.pem}, nil),
		""); err != nil {
		t.Fatal(err)
	}
	signers := h.signers()
	entries, err := signers.List(ctx, "", "", 2)
	if err != nil || len(entries) != 1 {
		t.Fatalf("the signing certificates: %+v, %v", entries, err)
	}
	issuer, encoded := credential.NameKeys(authority.certificate.RawSubject)
	id := "/id=" + hex.EncodeToString(authority.certificate.SubjectKeyId)
	if name := issuer + id + "/g/primary"; entries[0].Key != name {
		t.Fatalf("it is kept as %s, not as %s", entries[0].Key, name)
	}
	former := []string{encoded + id + "/g/primary", encoded + "/g/primary"}
	if _, err := h.config.Documents.Commit(ctx, signers.Delete(entries[0].Key, store.Present),
		signers.Put(former[which], store.Absent, entries[0].Value)); err != nil {
		t.Fatal(err)
	}
	if _, failed, err := h.registerChain("d1", certify(t, "d1", authority, false)); err != nil {
		t.Errorf("a device of a group of a former version: %v, %+v", err, failed)
	}
	other := certify(t, "Other", nil, true)
	if _, err := h.Groups().Put(ctx, signedGroup("g", &enroll.X509Certificate{Certificate: other.pem}, nil),
		""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.registerChain("d2", certify(t, "d2", authority, false)); !errors.Is(err,
		fault.UnauthorizedAccess) {
		t.Errorf("a device of the authority that was replaced: %v", err)
	}
}

// TestKeysThatAreTooLarge are refused before anything is computed with them.
func TestKeysThatAreTooLarge(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	signer := certify(t, "Factory", nil, true)
	modulus := new(big.Int).SetBit(big.NewInt(1), credential.MaxRSA, 1) // no key, but of that size
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "d1"},
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour), BasicConstraintsValid: true, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, &rsa.PublicKey{N: modulus, E: 65537},
		signer.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(der)
	for name, err := range map[string]error{
		"a device's": second(h.OpenSession(scope, "d1",
			credential.Evidence{Certificates: []*x509.Certificate{certificate}}).Register(ctx, nil)),
		"a group's": second(h.Groups().Put(ctx, signedGroup("g", &enroll.X509Certificate{Certificate: text}, nil),
			"")),
		"an authority's": second(h.Authorities().Put(ctx, "a", der, true, "")),
		"an enrollment's": second(h.Enrollments().Put(ctx,
			enroll.Enrollment{RegistrationID: "d1",
				Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "x509",
					X509: &enroll.X509Attestation{
						ClientCertificates: &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: text}}}}}}, "")),
		"one that is inspected": second(enroll.Inspect(der, noon)),
		"one that is checked":   second(h.CheckChain(ctx, der, "d1")),
	} {
		if err == nil || !strings.Contains(err.Error(), "RSA key of 8193 bits") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// keyed fills the service with so many groups with symmetric keys, and returns their
// keys.
func (h *fixture) keyed(groups int) (keys []string) {
	h.t.Helper()
	return addKeyGroups(h.t, h.Service, groups)
}

// groupsChanged is the change that goes with every change of a group.
func groupsChanged() store.Change {
	return store.Change{Collection: "provisioning/generations", Key: "groups", Value: []byte("{}")}
}

// signers are the signing certificates of groups by their names.
func (h *fixture) signers() store.Table[enroll.Signer] {
	return store.NewTable[enroll.Signer](h.config.Documents, "provisioning/signers")
}

func addKeyGroups(t testing.TB, s *Service, groups int) (keys []string) {
	t.Helper()
	changes := []store.Change{groupsChanged()}
	for i := range groups {
		keys = append(keys, credential.NewKey(enroll.KeySize))
		group := enroll.StoredGroup{Group: enroll.Group{EnrollmentGroupID: fmt.Sprintf("keys-%05d", i),
			Settings: enroll.Settings{ProvisioningStatus: enroll.Enabled,
				ReprovisionPolicy: &enroll.ReprovisionPolicy{},
				Attestation: enroll.AttestationMechanism{Type: enroll.SymmetricKey,
					SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: keys[i],
						SecondaryKey: credential.NewKey(enroll.KeySize)}}}}}
		changes = append(changes, s.groups.Restore(group)...)
		if len(changes) == 500 || i == groups-1 {
			if _, err := s.config.Documents.Commit(context.Background(), changes...); err != nil {
				t.Fatal(err)
			}
			changes = changes[:0]
		}
	}
	return keys
}

// withToken is a device that proves itself with a token made with the key.
func withToken(t testing.TB, id, key, remote string, now time.Time) credential.Evidence {
	t.Helper()
	token, err := credential.NewToken(scope+"/registrations/"+id, "registration", key, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return credential.Evidence{Token: token, Protocol: "mqtt", RemoteAddr: remote}
}

// TestSearchForAGroup counts the groups that are tried on a token.
func TestSearchForAGroup(t *testing.T) {
	const groups = 40
	h, ctx := newFixture(t, "hub.local"), context.Background()
	keys := h.keyed(groups)
	register := func(id, key string) error {
		_, err := h.OpenSession(scope, id, withToken(t, id, key, "192.0.2.1:1", h.clock.Now())).Register(ctx, nil)
		return err
	}
	last := attest.DeriveKey(keys[groups-1], "d1")
	cost := h.work(func() {
		if err := register("d1", last); err != nil {
			t.Errorf("a device that comes for the first time: %v", err)
		}
	})
	if cost.GroupsTried == 0 || cost.GroupsTried > groups {
		t.Errorf("a device that comes for the first time: %d groups were tried", cost.GroupsTried)
	}
	cost = h.work(func() {
		if err := register("d2", last); !errors.Is(err, fault.UnauthorizedAccess) {
			t.Errorf("a device with another's key: %v", err)
		}
	})
	if cost.GroupsTried != groups {
		t.Errorf("a device with another's key: %d groups were tried, want each once", cost.GroupsTried)
	}
	if cost := h.work(func() {
		if err := register("d1", last); err != nil {
			t.Error(err)
		}
	}); cost.GroupsTried != 1 {
		t.Errorf("a device that comes again: %d groups were tried", cost.GroupsTried)
	}
	// What is held of the groups follows every change of them.
	if err := h.Groups().Delete(ctx, fmt.Sprintf("keys-%05d", groups-1), ""); err != nil {
		t.Fatal(err)
	}
	if err := register("d1", last); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("after its group was deleted: %v", err)
	}
	if _, err := h.Groups().Put(ctx,
		enroll.Group{EnrollmentGroupID: "new",
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: enroll.SymmetricKey,
				SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: keys[groups-1]}}}}, ""); err != nil {
		t.Fatal(err)
	}
	if err := register("d1", last); err != nil {
		t.Errorf("with its key in a new group: %v", err)
	}
	// One that can't be read keeps its own devices out and no others.
	if _, err := h.config.Documents.Commit(ctx, groupsChanged(),
		store.Change{Collection: enroll.GroupRecords, Key: "broken", Value: []byte("{")}); err != nil {
		t.Fatal(err)
	}
	if err := register("d3", attest.DeriveKey(keys[0], "d3")); err != nil {
		t.Errorf("beside a group that can't be read: %v", err)
	}
}

// TestWrongTokensAreBounded counts the groups that are tried for who keeps failing:
// no more than their share, and nobody else pays for it.
func TestWrongTokensAreBounded(t *testing.T) {
	const groups = 2000
	h, ctx := newFixture(t, "hub.local"), context.Background()
	keys := h.keyed(groups)
	register := func(id, key, remote string) error {
		_, err := h.OpenSession(scope, id, withToken(t, id, key, remote, h.clock.Now())).Register(ctx, nil)
		return err
	}
	fail := func(n int, id, remote func(int) string) (throttled int) {
		for i := range n {
			err := register(id(i), keys[0], remote(i))
			switch {
			case errors.Is(err, fault.Throttled):
				if fault.From(err).RetryAfter < time.Second {
					t.Errorf("told to come back after %s", fault.From(err).RetryAfter)
				}
				throttled++
			case !errors.Is(err, fault.UnauthorizedAccess):
				t.Fatal(err)
			}
		}
		return throttled
	}
	same := func(text string) func(int) string { return func(int) string { return text } }
	each := func(format string) func(int) string { return func(i int) string { return fmt.Sprintf(format, i) } }

	var refused int
	cost := h.work(func() { refused = fail(30, same("d"), same("192.0.2.1:1")) })
	if cost.GroupsTried > guard.SearchesOfDevice || refused != 30-guard.SearchesOfDevice/groups {
		t.Errorf("one device: %d groups were tried, %d times it was refused before", cost.GroupsTried, refused)
	}
	if err := register("good-1", attest.DeriveKey(keys[groups-1], "good-1"), "192.0.2.1:2"); err != nil {
		t.Errorf("another device at the same source: %v", err)
	}
	cost = h.work(func() { fail(120, each("d%d"), same("192.0.2.1:1")) })
	if cost.GroupsTried > guard.SearchesOfSource {
		t.Errorf("many devices of one source: %d groups were tried", cost.GroupsTried)
	}
	if cost = h.work(func() { fail(20, each("e%d"), same("192.0.2.1:1")) }); cost.GroupsTried != 0 {
		t.Errorf("after that: %d groups were tried", cost.GroupsTried)
	}
	if err := register("good-2", attest.DeriveKey(keys[groups-1], "good-2"), "192.0.2.2:1"); err != nil {
		t.Errorf("a device at another source: %v", err)
	}
	if err := register("good-1", attest.DeriveKey(keys[groups-1], "good-1"), "192.0.2.1:2"); err != nil {
		t.Errorf("a device at the same source that comes again: %v", err)
	}
	h.clock.Advance(guard.SearchesRefill)
	if cost = h.work(func() { fail(1, same("d"), same("192.0.2.1:1")) }); cost.GroupsTried != groups {
		t.Errorf("some time later: %d groups were tried", cost.GroupsTried)
	}
}

// TestFailuresOfAConnection end with an answer that costs nothing.
func TestFailuresOfAConnection(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	session := h.OpenSession(scope, "d1", valid(t, "d1").evidence)
	for i := range failuresOfConnection {
		if _, err := session.Register(ctx, nil); !errors.Is(err, fault.UnauthorizedAccess) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	attempts := h.Tally().Refused
	if _, err := session.Register(ctx, nil); !errors.Is(err, fault.Throttled) {
		t.Errorf("one more: %v", err)
	}
	if _, err := session.Lookup(ctx, nil); !errors.Is(err, fault.Throttled) {
		t.Errorf("a look-up: %v", err)
	}
	if h.Tally().Refused != attempts {
		t.Error("what is not judged is on record")
	}
	h.clock.Advance(time.Second)
	if _, err := session.Register(ctx, nil); !errors.Is(err, fault.UnauthorizedAccess) {
		t.Errorf("a second later: %v", err)
	}
}

// TestASnapshotIsBounded: what is kept of a refusal does not grow with the groups that
// have an authority of the same name.
func TestASnapshotIsBounded(t *testing.T) {
	h, ctx := newFixture(t, "hub.local"), context.Background()
	for i := range 48 { // three times as many as a snapshot holds
		if _, err := h.Groups().Put(ctx,
			signedGroup(fmt.Sprint("g", i), &enroll.X509Certificate{Certificate: certify(t, "Factory", nil, true).pem},
				nil), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := h.registerChain("d1", certify(t, "d1", certify(t, "Factory", nil, true), false)); !errors.Is(err,
		fault.UnauthorizedAccess) {
		t.Fatal(err)
	}
	last, err := h.Attempts().Find(ctx, attempts.Filter{Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := h.Attempts().Get(ctx, last[0].Sequence)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(whole); err != nil || len(text) > 8<<10 {
		t.Errorf("the attempt has %d bytes, error %v", len(text), err)
	}
}

// benchmarked is a service for a benchmark.
func benchmarked(b *testing.B) *Service {
	dir := b.TempDir()
	documents, err := pebble.Open(dir+"/documents", pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	logs, err := segment.Open(dir+"/logs", segment.Options{})
	if err != nil {
		b.Fatal(err)
	}
	attempts, err := logs.Open("attempts", store.LogOptions{Partitions: 1})
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(context.Background(),
		Config{IDScope: scope, Host: "dps.local", Documents: documents, Attempts: attempts,
			Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(s.Close(context.Background()), logs.Close(), documents.Close()); err != nil {
			b.Error(err)
		}
	})
	return s
}

// reportCPU adds the processor time of the process to a benchmark: what a loaded
// machine does to the wall clock is no news.
func reportCPU(b *testing.B) (end func()) {
	used := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64((used()-before).Microseconds())/float64(b.N), "cpu-µs/op") }
}

// BenchmarkRefusedToken is a stranger at one address who tries tokens for ever new
// registration ids: what a refusal costs, with how many groups.
func BenchmarkRefusedToken(b *testing.B) {
	for _, groups := range []int{2, 1000, 10_000} {
		b.Run(fmt.Sprint(groups), func(b *testing.B) {
			s := benchmarked(b)
			addKeyGroups(b, s, groups)
			wrong, i := credential.NewKey(enroll.KeySize), 0
			before, end := s.Work(), reportCPU(b)
			for b.Loop() {
				i++
				id := fmt.Sprint("d", i)
				if _, err := s.OpenSession(scope, id,
					withToken(b, id, wrong, "192.0.2.1:1", time.Now())).Register(context.Background(),
					nil); err == nil {
					b.Fatal("let in")
				}
			}
			end()
			b.ReportMetric(float64(s.Work().GroupsTried-before.GroupsTried)/float64(b.N), "groups/op")
		})
	}
}

// BenchmarkOneRefusedToken is the same for the first token of an address, which has
// its search.
func BenchmarkOneRefusedToken(b *testing.B) {
	for _, groups := range []int{2, 1000, 10_000} {
		b.Run(fmt.Sprint(groups), func(b *testing.B) {
			s := benchmarked(b)
			addKeyGroups(b, s, groups)
			wrong := credential.NewKey(enroll.KeySize)
			evidence := withToken(b, "d", wrong, "192.0.2.1:1", time.Now())
			if _, err := s.groups.LoadKeys(context.Background()); err != nil {
				b.Fatal(err)
			}
			end := reportCPU(b)
			for b.Loop() {
				s.searches = guard.NewSearches()
				if _, err := s.OpenSession(scope, "d", evidence).Register(context.Background(), nil); err == nil {
					b.Fatal("let in")
				}
			}
			end()
		})
	}
}

// BenchmarkHostileChain is a stranger with certificates whose names are those of
// enrolled authorities, each time others.
func BenchmarkHostileChain(b *testing.B) {
	for _, length := range []int{15, 71} {
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			s := benchmarked(b)
			for _, name := range []string{"A", "B"} {
				authority, err := credential.NewAuthority(name, time.Now().Add(-time.Hour), time.Hour*24)
				if err != nil {
					b.Fatal(err)
				}
				certificate, _, err := authority.PEM()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Groups().Put(context.Background(),
					signedGroup(name, &enroll.X509Certificate{Certificate: string(certificate)}, nil), ""); err != nil {
					b.Fatal(err)
				}
			}
			evidence := hostileChain(b, "d", length)
			end := reportCPU(b)
			for b.Loop() {
				s.signatures = attest.Signatures{} // as if they were others
				if _, err := s.OpenSession(scope, "d", evidence).Register(context.Background(), nil); err == nil {
					b.Fatal("let in")
				}
			}
			end()
		})
	}
}

func second[T any](_ T, err error) error { return err }
