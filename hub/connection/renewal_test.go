package connection_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/store"
)

// csr makes a certificate signing request for a name, with a key of its own.
func (h *fixture) csr(name string) string {
	h.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.T.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		h.T.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// connectIssued connects a device that has an operational certificate, which it is given
// if it has none yet.
func (h *fixture) connectIssued(id string, keep bool) *connection.Session {
	h.T.Helper()
	return h.connectWith(id, h.issue(id), keep)
}

func (h *fixture) connectWith(id string, certificate *x509.Certificate, keep bool) *connection.Session {
	h.T.Helper()
	session, err := h.Connections().OpenSession(ctx, id,
		credential.Evidence{Certificates: []*x509.Certificate{certificate}}, keep, new(hubtest.Line))
	if err != nil {
		h.T.Fatal(err)
	}
	h.T.Cleanup(func() { session.Close(nil) })
	return session
}

// renew asks for a certificate and returns the answer.
func (h *fixture) renew(s *connection.Session, asked connection.RenewalRequest, owed *connection.OwedAnswer) string {
	h.T.Helper()
	renewal, err := s.BeginRenewal(ctx, asked)
	if err != nil {
		h.T.Fatal(err)
	}
	defer renewal.End()
	answer, err := renewal.Issue(joinChain, owed)
	if err != nil {
		h.T.Fatal(err)
	}
	return string(answer)
}

// joinChain is an answer: the certificates, one a line.
func joinChain(chain []string) ([]byte, error) { return []byte(strings.Join(chain, "\n")), nil }

// issued counts the certificates that a device has got.
func (h *fixture) issued(id string) int {
	h.T.Helper()
	certificates, _, err := h.Issuer.Issued(ctx, id, "", 100)
	if err != nil {
		h.T.Fatal(err)
	}
	return len(certificates)
}

// A device gets a certificate at its hub, with the chain up to the root, while the one
// that it is connected with stays good. It connects with the new one.
func TestRenewal(t *testing.T) {
	h := newFixture(t)
	session := h.connectIssued("d", false)
	answer := h.renew(session, connection.RenewalRequest{RequestID: "1", CSR: h.csr("d")}, nil)
	var chain []*x509.Certificate
	for line := range strings.Lines(answer) {
		der, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, certificate)
	}
	if len(chain) < 2 || chain[0].Subject.CommonName != "d" {
		t.Fatalf("the chain is %v", chain)
	}
	for i, certificate := range chain {
		if err := certificate.CheckSignatureFrom(chain[min(i+1, len(chain)-1)]); err != nil {
			t.Errorf("certificate %d of the chain: %v", i, err)
		}
	}
	if _, err := session.Twin(ctx); err != nil {
		t.Errorf("the connection does not go on: %v", err)
	}
	h.connectWith("d", chain[0], false)
	if n := h.issued("d"); n != 2 {
		t.Errorf("the device has %d certificates, want 2", n)
	}
}

// Whoever asks the same again, because the answer was lost, gets the same certificate, on
// the next connection too, for as long as a request may take. Another request gets another.
func TestRenewalIsAskedAgain(t *testing.T) {
	h := newFixture(t)
	session := h.connectIssued("d", true)
	first := connection.RenewalRequest{RequestID: "1", CSR: h.csr("d")}
	answer := h.renew(session, first, nil)
	session.Close(nil)

	certificate := h.parse(strings.SplitN(answer, "\n", 2)[0])
	session = h.connectWith("d", certificate, true)
	h.Advance(connection.IssueTimeout - time.Second)
	if again := h.renew(session, first, nil); again != answer {
		t.Error("the same request gets another certificate")
	}
	owed := &connection.OwedAnswer{PacketID: 7, Topic: "answers"}
	if h.renew(session, first, owed); len(session.Owed()) != 1 || string(session.Owed()[0].Payload) != answer {
		t.Errorf("owed is %v", session.Owed())
	}
	if n := h.issued("d"); n != 2 {
		t.Errorf("the device has %d certificates, want 2", n)
	}
	for name, other := range map[string]connection.RenewalRequest{
		"another id":  {RequestID: "2", CSR: first.CSR},
		"another key": {RequestID: "1", CSR: h.csr("d")},
	} {
		if h.renew(session, other, nil) == answer {
			t.Errorf("%s gets the certificate of before", name)
		}
	}
	answer = h.renew(session, first, nil)
	h.Advance(connection.IssueTimeout + time.Second)
	if h.renew(session, first, nil) == answer {
		t.Error("a request whose time is over gets the certificate of before")
	}
}

func (h *fixture) parse(encoded string) *x509.Certificate {
	h.T.Helper()
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		h.T.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		h.T.Fatal(err)
	}
	return certificate
}

// A device has one request at a time. Another says which one it takes the place of, and
// that one is over then.
func TestRenewalWhileAnotherIsUnderWay(t *testing.T) {
	h := newFixture(t)
	session := h.connectIssued("d", false)
	begin := func(id, replace string) (*connection.Renewal, error) {
		return session.BeginRenewal(ctx, connection.RenewalRequest{RequestID: id, CSR: h.csr("d"), Replace: replace})
	}
	info := func(err error) map[string]string {
		var problem *fault.Error
		errors.As(err, &problem)
		return problem.Info
	}
	_, err := begin("0", "nothing")
	if !errors.Is(err, fault.PreconditionFailed) || info(err)["requestId"] != "nothing" {
		t.Errorf("to replace what there is not is answered %v", err)
	}
	first, err := begin("1", "*")
	if err != nil {
		t.Fatal(err)
	}
	_, err = begin("2", "")
	if said := info(err); !errors.Is(err, fault.CredentialOperationActive) || said["requestId"] != "1" ||
		said["correlationId"] != first.CorrelationID || said["operationExpires"] != first.OperationExpires() {
		t.Errorf("a second request is answered %v, %v", err, said)
	}
	if _, err := begin("2", "0"); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("to replace another than that is answered %v", err)
	}
	second, err := begin("2", "1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Issue(joinChain, nil); err == nil || info(err)["correlationId"] != first.CorrelationID {
		t.Errorf("a request that was replaced is answered %v", err)
	}
	first.End() // and the second is still the one
	if _, err := begin("3", ""); !errors.Is(err, fault.CredentialOperationActive) || info(err)["requestId"] != "2" {
		t.Errorf("a third request is answered %v", err)
	}
	if _, err := second.Issue(joinChain, nil); err != nil {
		t.Error(err)
	}
	second.End()
	if n := h.issued("d"); n != 2 {
		t.Errorf("the device has %d certificates, want 2", n)
	}
	third, err := begin("3", "")
	if err != nil {
		t.Fatal(err)
	}
	third.End()
}

// The same request, sent again while it is under way, waits for what comes of it.
func TestRenewalWhileItIsUnderWay(t *testing.T) {
	h := newFixture(t)
	session := h.connectIssued("d", false)
	asked := connection.RenewalRequest{RequestID: "1", CSR: h.csr("d")}
	first, err := session.BeginRenewal(ctx, asked)
	if err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := session.BeginRenewal(impatient, asked); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who has waited for long enough is answered %v", err)
	}
	answers := make(chan string, 1)
	go func() {
		second, err := session.BeginRenewal(ctx, asked)
		if err != nil {
			answers <- err.Error()
			return
		}
		defer second.End()
		answer, err := second.Issue(joinChain, nil)
		answers <- string(answer) + fmt.Sprint(err)
	}()
	answer, err := first.Issue(joinChain, nil)
	if err != nil {
		t.Fatal(err)
	}
	first.End()
	if again := <-answers; again != string(answer)+"<nil>" {
		t.Errorf("the second gets %q, want the answer of the first", again)
	}
}

// enrollments are those of a provisioning service that answers as a test says.
type enrollments struct {
	issuance.Enrollments
	throttle, renew error
}

func (e *enrollments) ThrottleRenewal(string) error { return e.throttle }

func (e *enrollments) MayRenew(context.Context, string, string) ([]store.Change, error) {
	return nil, e.renew
}

// What keeps a device from a certificate is said before the request is taken, or in its
// answer with the correlation id.
func TestRenewalRefused(t *testing.T) {
	h := newFixture(t)
	session := h.connectIssued("d", false)
	asked := connection.RenewalRequest{RequestID: "1", CSR: h.csr("d")}
	device := h.Create(identity.Device{DeviceID: "keyed"})
	keyed, _ := h.Connect(device, false)
	if _, err := keyed.BeginRenewal(ctx, asked); !errors.Is(err, fault.ArgumentInvalid) ||
		!strings.Contains(err.Error(), "credential policy") {
		t.Errorf("a device without certificates is answered %v", err)
	}
	if _, err := session.BeginRenewal(ctx, connection.RenewalRequest{RequestID: "1", CSR: "?"}); !errors.Is(err,
		fault.ArgumentInvalid) {
		t.Errorf("what is no base64 is answered %v", err)
	}
	service := new(enrollments)
	h.Issuer.Follow(service)
	service.throttle = fault.New(fault.Throttled, "Too many")
	if _, err := session.BeginRenewal(ctx, asked); !errors.Is(err, fault.Throttled) {
		t.Errorf("one too many is answered %v", err)
	}
	service.throttle = nil
	for _, c := range []struct {
		name  string
		asked connection.RenewalRequest
		renew error
		code  fault.Code
		said  string
	}{
		{"an enrollment that is disabled", asked, fault.New(fault.UnauthorizedAccess, "It is disabled"),
			fault.CredentialRequestInvalid, "401002"},
		{"a service that is down", asked, fault.New(fault.Unavailable, "Down"), fault.Unavailable, "503001"},
		{"a request for another", connection.RenewalRequest{RequestID: "1", CSR: h.csr("other")}, nil,
			fault.CredentialRequestInvalid, "400004"},
	} {
		service.renew = c.renew
		renewal, err := session.BeginRenewal(ctx, c.asked)
		if err != nil {
			t.Fatal(err)
		}
		_, err = renewal.Issue(joinChain, nil)
		renewal.End()
		var problem *fault.Error
		if !errors.As(err, &problem) || problem.Code != c.code || problem.Info["credentialError"] != c.said ||
			problem.Info["correlationId"] != renewal.CorrelationID {
			t.Errorf("%s: answered %v, %+v, want %d for %s", c.name, err, problem, int(c.code), c.said)
		}
	}
	if n := h.issued("d"); n != 1 {
		t.Errorf("the device has %d certificates, want the first alone", n)
	}
}

// What was answered to devices long ago does not stay for ever: each new answer looks at
// some of them.
func TestRenewalAnswersAreForgotten(t *testing.T) {
	h := newFixture(t)
	const devices = 12
	for i := range devices {
		id := fmt.Sprintf("old-%02d", i)
		h.renew(h.connectIssued(id, false), connection.RenewalRequest{RequestID: "1", CSR: h.csr(id)}, nil)
	}
	h.Advance(connection.IssueTimeout + time.Second)
	session := h.connectIssued("new", false)
	for i := range devices {
		h.renew(session, connection.RenewalRequest{RequestID: fmt.Sprint(i), CSR: h.csr("new")}, nil)
	}
	kept, err := h.Documents.List(ctx, "hub/test/renewals", "", "", 100)
	if err != nil || len(kept) != 1 || kept[0].Key != "new" {
		t.Errorf("the answers to %d devices are kept, error %v", len(kept), err)
	}
}

// An answer that is owed comes again with the session until the device has it; who starts
// clean is owed nothing.
func TestOwed(t *testing.T) {
	h := newFixture(t)
	device := h.Create(identity.Device{DeviceID: "d"})
	session, _ := h.Connect(device, true)
	if !session.IsPersistent() {
		t.Error("the session does not outlive its connection")
	}
	answer := func(id uint16) connection.OwedAnswer {
		return connection.OwedAnswer{PacketID: id, Topic: "answers", Payload: fmt.Append(nil, id)}
	}
	owed := func(s *connection.Session) (ids []uint16) {
		for _, answer := range s.Owed() {
			if answer.Topic != "answers" || string(answer.Payload) != fmt.Sprint(answer.PacketID) {
				t.Errorf("owed is %+v", answer)
			}
			ids = append(ids, answer.PacketID)
		}
		return ids
	}
	for id := range uint16(10) {
		if err := session.Owe(ctx, answer(id)); err != nil {
			t.Fatal(err)
		}
	}
	session.Close(nil)
	h.Reopen()
	session, _ = h.Connect(device, true)
	if got := fmt.Sprint(owed(session)); got != "[2 3 4 5 6 7 8 9]" {
		t.Errorf("owed are %s, want the last eight", got)
	}
	for _, id := range []uint16{4, 4, 0} { // twice, and one that is forgotten
		if err := session.Acknowledge(ctx, id); err != nil {
			t.Error(err)
		}
	}
	if got := fmt.Sprint(owed(session)); got != "[2 3 5 6 7 8 9]" {
		t.Errorf("owed are %s after one was acknowledged", got)
	}
	session.Close(nil)
	session, _ = h.Connect(device, false)
	if err := session.Owe(ctx, answer(1)); err != nil || len(session.Owed()) != 0 || session.IsPersistent() {
		t.Errorf("a session that ends with its connection is owed %v, error %v", session.Owed(), err)
	}
	session.Close(nil)
	if session, _ = h.Connect(device, true); len(session.Owed()) != 0 {
		t.Errorf("after a clean start %v are owed", session.Owed())
	}
}
