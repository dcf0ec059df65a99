package server

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// metric reads one of the server's figures as those who run it do.
func (h *fixture) metric(name string) (value float64) {
	h.t.Helper()
	response, err := http.Get(strings.TrimSuffix(h.Info().PortalURL, "/") + "/metrics")
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			if value, err = strconv.ParseFloat(text, 64); err != nil {
				h.t.Fatal(err)
			}
			return value
		}
	}
	h.t.Fatalf("there is no metric %s", name)
	return 0
}

// hostileChain is what costs a verifier most: certificates with two names in turn,
// each with a key of its own on P-521, that could all have signed each other.
func hostileChain(t *testing.T, id string, length int) (chain deviceKeys) {
	t.Helper()
	for i := range length {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		subject := []string{"A", "B"}[(i+1)%2]
		if i == 0 {
			subject, chain.PrivateKey = id, key
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: subject},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
			IsCA: i > 0}
		issuer := *template
		issuer.Subject = pkix.Name{CommonName: []string{"A", "B"}[i%2]}
		der, err := x509.CreateCertificate(rand.Reader, template, &issuer, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		chain.Certificate.Certificate = append(chain.Certificate.Certificate, der)
	}
	return chain
}

// TestUnknownDeviceChainCost counts the signatures that chains without an end make the
// server check, on one connection and on many.
func TestUnknownDeviceChainCost(t *testing.T) {
	h := newLimited(t, provisioning.Limits{})
	authority, err := credential.NewAuthority("A", time.Now().Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate.Raw}))
	if _, err := h.provisioning.PutGroup(context.Background(),
		enroll.Group{EnrollmentGroupID: "a", Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{
			Type: "x509",
			X509: &enroll.X509Attestation{SigningCertificates: &enroll.X509Certificates{Primary: &enroll.X509Certificate{Certificate: text}}}}}}, ""); err != nil {
		t.Fatal(err)
	}
	const signatures = "berth_attestation_signatures_total"
	for length, most := range map[int]float64{15: 8, 71: 0} {
		before, keys := h.metric(signatures), hostileChain(t, "d1", length)
		for range 2 {
			d := h.provision(&keys, h.Info().IDScope, "d1")
			for range 20 {
				d.ask(registerTopic, "").is(t, 401002, 0, "")
			}
			d.ask(registerTopic, "").is(t, 429001, 1, "on this connection")
		}
		if cost := h.metric(signatures) - before; cost > most {
			t.Errorf("%d certificates: %v signatures were checked for 40 registrations, want %v at most", length, cost,
				most)
		}
	}
}

// TestUnknownDeviceTokenCost counts the groups that are tried on tokens.
func TestUnknownDeviceTokenCost(t *testing.T) {
	const groups, tried = 100, "berth_attestation_groups_tried_total"
	h := newLimited(t, provisioning.Limits{})
	key := credential.NewKey(64)
	for i := range groups {
		group := enroll.Group{EnrollmentGroupID: fmt.Sprintf("g%03d", i),
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"}}}
		if i == groups-1 {
			group.Attestation.SymmetricKey = &enroll.SymmetricKeyAttestation{PrimaryKey: key}
		}
		if _, err := h.provisioning.PutGroup(context.Background(), group, ""); err != nil {
			t.Fatal(err)
		}
	}
	register := func(id, key string) (answer reply, cost float64) {
		t.Helper()
		token, err := credential.NewToken(h.Info().IDScope+"/registrations/"+id, "registration", key,
			h.config.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		before := h.metric(tried)
		answer = h.send(nil, token, "PUT", "/"+h.Info().IDScope+"/registrations/"+id+"/register",
			fmt.Sprintf(`{"registrationId": %q}`, id))
		return answer, h.metric(tried) - before
	}
	if answer, cost := register("d1", attest.DeriveKey(key, "d1")); answer.status != 202 || cost != groups {
		t.Errorf("a device of the last group: %+v, %v groups were tried", answer, cost)
	}
	if answer, cost := register("d1", attest.DeriveKey(key, "d1")); answer.status != 202 || cost != 1 {
		t.Errorf("the same again: %+v, %v groups were tried", answer, cost)
	}
	answer, cost := register("d2", key)
	if answer.is(t, 401002, 0, "not enrolled"); cost != groups {
		t.Errorf("a wrong token: %v groups were tried", cost)
	}
	for range 20_000/groups - 1 { // what a device may cost at once
		answer, _ = register("d2", key)
		answer.is(t, 401002, 0, "not enrolled")
	}
	answer, cost = register("d2", key)
	if answer.is(t, 429001, 1, "Too many tokens"); cost != 0 {
		t.Errorf("a wrong token too many: %v groups were tried", cost)
	}
	if answer, _ := register("d3", attest.DeriveKey(key, "d3")); answer.status != 202 {
		t.Errorf("another device at the same address: %+v", answer)
	}
}
