package main

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// newBerth is a fleet of one process, whose group gives certificates by the policy
// default.
func newBerth(t *testing.T, flags ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, binary: buildBinary(t), firstData: t.TempDir()}
	f.first = startProcess(t, f.binary, f.firstData, flags...)
	var err error
	f.group, err = f.first.provisioning.PutGroup(within(t, time.Minute),
		enroll.Group{EnrollmentGroupID: "meters",
			Settings: enroll.Settings{Attestation: enroll.AttestationMechanism{Type: "symmetricKey"},
				CredentialPolicyName: "default"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	f.groupKeys = *f.group.Attestation.SymmetricKey
	return f
}

// refuses runs a command that must fail, and returns what it says.
func (f *fleet) refuses(args ...string) string {
	f.t.Helper()
	var output, says strings.Builder
	if code := run(f.t.Context(), append(args, "--data", f.firstData), &output, &says); code == 0 {
		f.t.Errorf("berth %s was done: %s", strings.Join(args, " "), &output)
	}
	return says.String()
}

func (f *fleet) ended(what string, client *device.Client) {
	f.t.Helper()
	select {
	case <-client.Ended():
	case <-time.After(5 * time.Second):
		f.t.Errorf("%s lives on", what)
	}
}

// TestCutOff: a device renews only as long as its enrollment lets it, all of its
// certificates are taken in one command, and a policy in use is not deleted unawares.
func TestCutOff(t *testing.T) {
	t.Parallel()
	f := newBerth(t)
	ctx := within(t, 2*time.Minute)
	clients := map[string]*device.Client{}
	certificates := map[string]tls.Certificate{}
	host := ""
	for _, id := range []string{"d1", "d2"} {
		var err error
		host, certificates[id] = f.operational(id, ecKey(t, elliptic.P256()))
		if clients[id], err = f.connect(id, host, ptr(certificates[id])); err != nil {
			t.Fatal(err)
		}
	}
	renew := func(code fault.Code, inner, says string) {
		t.Helper()
		_, err := clients["d1"].RenewCertificate(ctx, csrOf(t, ecKey(t, elliptic.P256()), "d1"))
		if code == 0 {
			if err != nil {
				t.Errorf("renewing is answered %v", err)
			}
			return
		}
		var problem *fault.Error
		if !errors.As(err, &problem) || problem.Code != code || problem.Info["credentialError"] != inner ||
			problem.Info["correlationId"] == "" || !strings.Contains(problem.Message, says) {
			t.Errorf("renewing is answered %v, want %d for %s that says %q", err, int(code), inner, says)
		}
	}
	renew(0, "", "")
	f.run("group", "update", "meters", "--provisioning-status", "disabled")
	renew(fault.CredentialRequestInvalid, "401002", "is disabled")
	f.run("group", "update", "meters", "--provisioning-status", "enabled")
	renew(0, "", "")
	f.run("credential", "policy", "set", "other")
	f.run("group", "update", "meters", "--credential-policy", "other")
	renew(fault.CredentialRequestInvalid, "400004", "another credential policy")
	f.run("group", "update", "meters", "--credential-policy", "")
	renew(fault.CredentialRequestInvalid, "400004", "no credential policy")
	f.run("group", "update", "meters", "--credential-policy", "default")
	renew(0, "", "")
	// A policy that narrows counts at once.
	f.run("credential", "policy", "set", "default", "--key-types", "ec-p384")
	renew(fault.CredentialRequestInvalid, "400004", "ec-p384")
	f.run("credential", "policy", "set", "default")

	if says := f.refuses("credential", "policy", "delete", "default"); !strings.Contains(says, "named by the group") ||
		!strings.Contains(says, "meters") {
		t.Errorf("deleting a policy in use is answered %s", says)
	}
	if says := f.refuses("credential", "authority", "delete", "default"); !strings.Contains(says, "credential policy") {
		t.Errorf("deleting an authority in use is answered %s", says)
	}
	f.run("credential", "policy", "delete", "default", "--force")
	renew(fault.Unavailable, "503001", "Whoever runs the service")
	options := f.options("d3")
	options.CSR = csrOf(t, ecKey(t, elliptic.P256()), "d3")
	if _, err := device.Provision(ctx, options); !errors.Is(err, fault.Unavailable) {
		t.Errorf("registering without the policy is answered %v", err)
	}
	if says := f.run("attempts", "d3"); !strings.Contains(says, "credential policy") ||
		!strings.Contains(says, "503001") {
		t.Errorf("the attempt says %s", says)
	}
	f.run("credential", "policy", "set", "default")
	renew(0, "", "")

	issued, err := f.first.provisioning.IssuedTo(ctx, "d1")
	if err != nil || len(issued) < 5 {
		t.Fatalf("the device has %d certificates, error %v", len(issued), err)
	}
	if got := f.run("credential", "list", "--device", "d1", "--max", "2", "-o", "json"); strings.Count(got,
		`"thumbprint"`) != 2 || !strings.Contains(got, issued[0].Thumbprint) {
		t.Errorf("the latest two are %s", got)
	}
	f.refuses("credential", "revoke")
	f.refuses("credential", "revoke", issued[0].Thumbprint, "--device", "d1")
	f.refuses("credential", "revoke", "--device", "nobody")
	f.run("credential", "revoke", "--device", "D1")
	f.ended("a device whose certificates are revoked", clients["d1"])
	if _, err := f.connect("d1", host, ptr(certificates["d1"])); !refusedByHub(err) {
		t.Errorf("with a revoked certificate it is answered %v", err)
	}
	if issued, err = f.first.provisioning.IssuedTo(ctx, "d1"); err != nil {
		t.Fatal(err)
	}
	for _, one := range issued {
		if one.Revoked.IsZero() {
			t.Errorf("%s is not revoked", one.Thumbprint)
		}
	}
	if err := clients["d2"].Send(ctx, device.Message{Payload: []byte("still here")}); err != nil {
		t.Errorf("another device: %v", err)
	}
	_, back := f.operational("d1", ecKey(t, elliptic.P256()))
	if _, err := f.connect("d1", host, &back); err != nil {
		t.Errorf("with a new certificate: %v", err)
	}
}

// TestAnAuthorityOfTheCompanys: an issuing authority under the company's own, from the
// request to the devices' certificates, and its revocation and replacement in one step.
func TestAnAuthorityOfTheCompanys(t *testing.T) {
	t.Parallel()
	f := newBerth(t)
	ctx := within(t, 2*time.Minute)
	root, err := credential.NewAuthority("Company root", time.Now().Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(requestPEM string) string {
		t.Helper()
		block, _ := pem.Decode([]byte(requestPEM))
		if block == nil {
			t.Fatalf("no request: %s", requestPEM)
		}
		request, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader,
			&x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: request.Subject,
				NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * time.Hour),
				KeyUsage:              x509.KeyUsageCertSign,
				BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true}, root.Certificate, request.PublicKey,
			root.Key)
		if err != nil {
			t.Fatal(err)
		}
		rootPEM, _, err := root.PEM()
		if err != nil {
			t.Fatal(err)
		}
		file := t.TempDir() + "/chain.pem"
		chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), rootPEM...)
		if err := os.WriteFile(file, chain, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	requested := f.run("credential", "authority", "request", "factory", "--common-name", "Factory issuing")
	if list := f.run("credential", "authority", "list"); !strings.Contains(list, "not activated") {
		t.Errorf("the list says %s", list)
	}
	if says := f.refuses("credential", "policy", "set", "default", "--authority", "factory"); !strings.Contains(says,
		"no certificate yet") {
		t.Errorf("a policy of one that can't sign is answered %s", says)
	}
	other := t.TempDir() + "/other.pem"
	rootPEM, _, err := root.PEM()
	if err != nil || os.WriteFile(other, rootPEM, 0o600) != nil {
		t.Fatal(err)
	}
	if says := f.refuses("credential", "authority", "activate", "factory", other); !strings.Contains(says,
		"none of the certificates") {
		t.Errorf("another chain is answered %s", says)
	}
	f.run("credential", "authority", "activate", "factory", sign(requested))
	f.run("credential", "policy", "set", "default", "--authority", "factory")

	issue := func(key crypto.Signer) (string, [][]byte) {
		t.Helper()
		options := f.options("d1")
		options.CSR = csrOf(t, key, "d1")
		registration, err := device.Provision(ctx, options)
		if err != nil {
			t.Fatal(err)
		}
		return registration.RegistrationState.AssignedHub, registration.RegistrationState.IssuedCertificateChain
	}
	key := ecKey(t, elliptic.P256())
	host, chain := issue(key)
	certificate := f.chained("d1", chain, key)
	if top, err := x509.ParseCertificate(chain[2]); err != nil || !top.Equal(root.Certificate) {
		t.Errorf("the chain does not end with the company's root: %v", err)
	}
	client, err := f.connect("d1", host, &certificate)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.RenewCertificate(ctx, csrOf(t, ecKey(t, elliptic.P256()), "d1")); err != nil {
		t.Errorf("renewing: %v", err)
	}
	f.run("credential", "authority", "activate", "factory",
		sign(f.run("credential", "authority", "request", "factory")))
	if err := client.Send(ctx, device.Message{Payload: []byte("still here")}); err != nil {
		t.Errorf("after the authority was renewed: %v", err)
	}
	f.crash(true)
	if client, err = f.connect("d1", host, &certificate); err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	f.refuses("credential", "authority", "rotate", "factory")
	f.run("credential", "authority", "rotate", "factory", "--to", "factory-2")
	f.ended("a device of a revoked authority", client)
	if _, err := f.connect("d1", host, &certificate); !refusedByHub(err) {
		t.Errorf("a certificate of the former authority is answered %v", err)
	}
	host, chain = issue(key)
	certificate = f.chained("d1", chain, key)
	if _, err = f.connect("d1", host, &certificate); err != nil {
		t.Fatalf("a certificate of the other authority: %v", err)
	}
	f.run("credential", "authority", "delete", "factory")
	if says := f.refuses("credential", "authority", "create", "factory"); !strings.Contains(says, "or was") {
		t.Errorf("its name is answered %s", says)
	}
}
