package mqtt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/wire/mqtt"
)

// enrollments say of every device what the test wants.
type enrollments struct {
	mutex     sync.Mutex
	throttled time.Duration // a device must wait for so long; 0 for none
	refusal   error
}

func (e *enrollments) set(throttled time.Duration, refusal error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.throttled, e.refusal = throttled, refusal
}

func (e *enrollments) ThrottleRenewal(string) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.throttled == 0 {
		return nil
	}
	problem := fault.New(fault.Throttled, "Come back later")
	problem.RetryAfter = e.throttled
	return problem
}

func (e *enrollments) MayRenew(context.Context, string, string) ([]store.Change, error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return nil, e.refusal
}

func (*enrollments) PolicyUser(context.Context, string) (issuance.PolicyUser, error) {
	return issuance.PolicyUser{}, nil
}

// gate holds up commits that make a certificate.
type gate struct {
	store.Documents
	mutex   sync.Mutex
	reached chan struct{} // closed when a commit waits; nil lets all through
	open    chan struct{}
}

func (g *gate) shut() (reached <-chan struct{}, open func()) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.reached, g.open = make(chan struct{}), make(chan struct{})
	return g.reached, sync.OnceFunc(func() { close(g.open) })
}

func (g *gate) Commit(ctx context.Context, changes ...store.Change) ([]string, error) {
	for _, change := range changes {
		if change.Collection != issuance.CertificateRecords || change.Delete {
			continue
		}
		g.mutex.Lock()
		reached, open := g.reached, g.open
		g.reached = nil
		g.mutex.Unlock()
		if reached != nil {
			close(reached)
			<-open
		}
	}
	return g.Documents.Commit(ctx, changes...)
}

// logged is what the log says, as it grows.
type logged struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(b)
}

func (l *logged) has(words ...string) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for line := range strings.SplitSeq(l.text.String(), "\n") {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			return true
		}
	}
	return false
}

// renewing is a hub whose devices have operational certificates.
type renewing struct {
	*fixture
	enrollments enrollments
	gate        gate
	issuer      *issuance.Service
	log         logged
}

func newRenewing(t *testing.T, exact bool) *renewing {
	r := &renewing{}
	r.fixture = newFixture(t, func(config *hub.Config, served *Config) {
		r.gate.Documents = config.Documents
		config.Documents = &r.gate
		var err error
		if r.issuer, err = issuance.Open(t.Context(),
			issuance.Config{Documents: &r.gate, Now: time.Now, Exact: exact}); err != nil {
			t.Fatal(err)
		}
		r.issuer.Follow(&r.enrollments)
		config.Issuer = r.issuer
		served.Exact, served.Logger = exact, slog.New(slog.NewTextHandler(&r.log, nil))
	})
	return r
}

// createDevice makes a device that gets its certificates from the hub, and returns the user
// name and password with which a gateway connects it.
func (r *renewing) createDevice(id string) (username, token string) {
	r.t.Helper()
	if _, err := r.EnsureDevice(r.t.Context(),
		hub.Admission{DeviceID: id,
			Issuance: &identity.Issuance{RegistrationID: id, Policy: issuance.DefaultPolicy}}); err != nil {
		r.t.Fatal(err)
	}
	policies, err := r.Access().List(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, policy := range policies {
		if policy.Name == "device" {
			if token, err = credential.NewToken("hub.local", policy.Name, policy.PrimaryKey,
				time.Now().Add(time.Hour)); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	return "hub.local/" + id + "/?api-version=2025-08-01-preview", token
}

// listen connects a device that listens for certificates.
func (r *renewing) listen(id string) *device {
	r.t.Helper()
	username, token := r.createDevice(id)
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	d := &device{t: r.t, messages: make(chan received, 1000)}
	connect := &mqtt.Connect{ClientID: id, Username: username, Password: []byte(token), HasPassword: true,
		CleanSession: true, KeepAlive: 60}
	d.Client, d.present, err = mqtt.NewClient(r.t.Context(), conn, connect,
		func(topic string, payload []byte) { d.messages <- received{topic, payload} })
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(d.Abort)
	if codes, err := d.Subscribe(r.t.Context(),
		mqtt.Subscription{Filter: "$iothub/credentials/res/#", QoS: 1}); err != nil ||
		codes[0] != 1 {
		r.t.Fatalf("subscribing is answered %v, error %v", codes, err)
	}
	return d
}

// outcome is what a request for a certificate was answered.
type outcome struct {
	status           int
	parameters       string         // behind the status
	CorrelationID    string         `json:"correlationId"`
	OperationExpires string         `json:"operationExpires"`
	Certificates     []string       `json:"certificates"`
	ErrorCode        int            `json:"errorCode"`
	Message          string         `json:"message"`
	TrackingID       string         `json:"trackingId"`
	Info             map[string]any `json:"info"`
	raw              map[string]any
}

func readOutcome(t testing.TB, m received) (o outcome) {
	t.Helper()
	if _, err := fmt.Sscanf(m.topic, "$iothub/credentials/res/%d/?%s", &o.status, &o.parameters); err != nil {
		t.Fatalf("an answer on %s", m.topic)
	}
	if err := json.Unmarshal(m.payload, &o); err != nil {
		t.Fatalf("an answer %s: %v", m.payload, err)
	}
	if err := json.Unmarshal(m.payload, &o.raw); err != nil {
		t.Fatal(err)
	}
	return o
}

// request publishes a request and returns its answers, the 202 first if there was one.
func (d *device) request(requestID, body string) []outcome {
	d.t.Helper()
	if err := d.Publish(contract.IssueCertificateTopic+"$rid="+requestID, []byte(body), 1, nil); err != nil {
		d.t.Fatal(err)
	}
	first := readOutcome(d.t, d.next())
	if first.status != 202 {
		return []outcome{first}
	}
	if first.parameters != "$rid="+requestID || first.CorrelationID == "" {
		d.t.Errorf("taken is %+v", first)
	}
	if expires, err := time.Parse(time.RFC3339Nano, first.OperationExpires); err != nil ||
		time.Until(expires) > connection.IssueTimeout || time.Until(expires) < connection.IssueTimeout-time.Minute {
		d.t.Errorf("it expires at %s, error %v", first.OperationExpires, err)
	}
	return []outcome{first, readOutcome(d.t, d.next())}
}

func csrFor(t testing.TB, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func asking(id, csr string, more ...string) string {
	body := map[string]string{"id": id, "csr": csr}
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i]] = more[i+1]
	}
	encoded, _ := json.Marshal(body)
	return string(encoded)
}

// An error that comes before the request is taken has info null, or names the request
// that it speaks of; one that comes after carries the correlation id, which the log has
// too.
func TestRefusedCertificateRequests(t *testing.T) {
	r := newRenewing(t, false)
	d := r.listen("d1")
	csr := csrFor(t, "d1")
	for body, c := range map[string]struct {
		code fault.Code
		says string
	}{
		"":                           {fault.ArgumentInvalid, "no body"},
		`{"id":"d1","csr":`:          {fault.BadFormat, "not JSON"},
		`{"id":"d1","csr":"x"}}`:     {fault.BadFormat, "goes on after its JSON"},
		`{"id":"d1","csr":"x"}]`:     {fault.BadFormat, "goes on after its JSON"},
		`{"id":"d1","csr":"x"} {}`:   {fault.BadFormat, "goes on after its JSON"},
		`["d1"]`:                     {fault.ArgumentInvalid, "JSON array"},
		asking("d2", csr):            {fault.ArgumentInvalid, "d2"},
		asking("", csr):              {fault.ArgumentInvalid, "id is missing"},
		asking("d1", ""):             {fault.ArgumentInvalid, "csr is missing"},
		asking("d1", "not base64!!"): {fault.ArgumentInvalid, "not base64"},
		asking("d1", csr, "other", "x"): {fault.ArgumentInvalid,
			`besides id, csr and replace: "other"`},
		asking("d1", csr, "replace", "-"):               {fault.ArgumentInvalid, "replace must be"},
		`{"ID":"d1","csr":"` + csr + `"}`:               {fault.ArgumentInvalid, "written id"},
		`{"id":"d1","CSR":"` + csr + `"}`:               {fault.ArgumentInvalid, "written csr"},
		`{"id":"d1","csr":"` + csr + `","Csr":"x"}`:     {fault.ArgumentInvalid, "written csr"},
		`{"id":"d1","csr":"` + csr + `","Replace":"*"}`: {fault.ArgumentInvalid, "written replace"},
		`{"id":"d1","csr":17}`:                          {fault.ArgumentInvalid, "csr must be a string, not a number"},
		asking("d1", strings.Repeat("A", 8<<10)+"AAAA"): {fault.ArgumentInvalid, "the limit is"},
	} {
		got := d.request("refused-1", body)
		info, has := got[0].raw["info"]
		if len(got) != 1 || fault.Code(got[0].ErrorCode) != c.code || !strings.Contains(got[0].Message, c.says) ||
			!has || info != nil || strings.Contains(got[0].Message, "json:") {
			t.Errorf("%.60q is answered %+v, want %d that says %q, with info null", body, got, int(c.code), c.says)
		}
	}
	got := d.request("refused-2", asking("d1", csr, "replace", "db8c0f73-ac73"))
	if len(got) != 1 || fault.Code(got[0].ErrorCode) != fault.PreconditionFailed || got[0].status != 412 ||
		!reflect.DeepEqual(got[0].Info, map[string]any{"requestId": "db8c0f73-ac73"}) {
		t.Errorf("replacing what is not there is answered %+v", got)
	}
	r.enrollments.set(7*time.Second, nil)
	if got := d.request("refused-3", asking("d1", csr)); len(got) != 1 || got[0].status != 429 ||
		got[0].parameters != "$rid=refused-3&retry-after=7" {
		t.Errorf("too many requests are answered %+v", got)
	}

	after := func(name, body, inner, says string, code fault.Code) {
		t.Helper()
		got := d.request("refused-4", body)
		if len(got) != 2 {
			t.Fatalf("%s is answered %+v", name, got)
		}
		refused := got[1]
		if fault.Code(refused.ErrorCode) != code || refused.status != code.Status() ||
			refused.Info["correlationId"] != got[0].CorrelationID ||
			refused.Info["credentialError"] != inner || len(refused.Info) != 3 ||
			!strings.Contains(refused.Info["credentialMessage"].(string), says) {
			t.Errorf("%s is answered %+v, want %d, info with %s that says %q", name, refused, int(code), inner, says)
		}
		if !r.log.has("certificate request refused", got[0].CorrelationID, refused.TrackingID) {
			t.Errorf("%s: the log has no line with the correlation id", name)
		}
	}
	r.enrollments.set(0, nil)
	after("no PKCS #10", asking("d1", base64.StdEncoding.EncodeToString([]byte("MOCK CSR"))), "400004", "as PKCS #10",
		400040)
	after("another's name", asking("d1", csrFor(t, "d2")), "400004", "common name", 400040)
	r.enrollments.set(0, fault.New(fault.UnauthorizedAccess, "The enrollment of this device is disabled"))
	after("a disabled enrollment", asking("d1", csr), "401002", "is disabled", 400040)
	r.enrollments.set(0, nil)
	if err := r.issuer.DeletePolicy(t.Context(), issuance.DefaultPolicy, "", true); err != nil {
		t.Fatal(err)
	}
	after("a policy that is gone", asking("d1", csr), "503001", "Whoever runs the service", fault.Unavailable)
	if issued, _, err := r.issuer.Issued(t.Context(), "d1", "", 10); err != nil || len(issued) != 0 {
		t.Errorf("%d certificates were issued, error %v", len(issued), err)
	}
}

// The same request with the same $rid, because its answer was lost, gets the same
// certificate, also on another connection; another request gets another.
func TestRenewalIsIdempotent(t *testing.T) {
	r := newRenewing(t, false)
	d := r.listen("d1")
	csr := csrFor(t, "d1")
	first := d.request("1234", asking("d1", csr))
	if len(first) != 2 || first[1].status != 200 || len(first[1].Certificates) != 3 ||
		first[1].CorrelationID != first[0].CorrelationID {
		t.Fatalf("the first is answered %+v", first)
	}
	if !r.log.has("certificate issued", first[0].CorrelationID) {
		t.Error("the log has no line with the correlation id")
	}
	same := func(d *device) {
		t.Helper()
		if got := d.request("1234", asking("d1", csr)); !reflect.DeepEqual(got[1], first[1]) ||
			got[0].CorrelationID != first[0].CorrelationID {
			t.Errorf("the same request is answered %+v, want %+v", got, first)
		}
	}
	same(d)
	d.Disconnect()
	d = r.listen("d1")
	same(d)
	for name, body := range map[string]string{"1234": asking("d1", csrFor(t, "d1")), "1235": asking("d1", csr)} {
		if got := d.request(name, body); got[1].status != 200 || got[1].Certificates[0] == first[1].Certificates[0] {
			t.Errorf("another request is answered %+v", got[1])
		}
	}
	if issued, _, err := r.issuer.Issued(t.Context(), "d1", "", 10); err != nil || len(issued) != 3 {
		t.Errorf("%d certificates were issued, want 3, error %v", len(issued), err)
	}
	// It is of the device as it is: one of the same id that was made anew gets its own.
	if err := r.DeleteDevice(t.Context(), "d1", ""); err != nil {
		t.Fatal(err)
	}
	d = r.listen("d1")
	if got := d.request("1235", asking("d1", csr)); got[1].status != 200 ||
		got[1].CorrelationID == first[0].CorrelationID {
		t.Errorf("a namesake is answered %+v", got)
	}
}

// While a request is under way another one of the device is refused with the first one's
// id, unless it takes its place.
func TestOneCertificateRequestAtATime(t *testing.T) {
	r := newRenewing(t, false)
	reached, open := r.gate.shut()
	defer open()
	slow := r.listen("d1")
	if err := slow.Publish(contract.IssueCertificateTopic+"$rid=slow", []byte(asking("d1", csrFor(t, "d1"))), 1,
		nil); err != nil {
		t.Fatal(err)
	}
	<-reached
	d := r.listen("d1") // takes the connection over, and not the request
	got := d.request("quick", asking("d1", csrFor(t, "d1")))
	if len(got) != 1 || got[0].ErrorCode != 409005 || got[0].status != 409 || len(got[0].Info) != 3 ||
		got[0].Info["requestId"] != "slow" {
		t.Fatalf("another request is answered %+v, want 409005 that tells of the first", got)
	}
	expires, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got[0].Info["operationExpires"]))
	correlationID := fmt.Sprint(got[0].Info["correlationId"])
	if err != nil || time.Until(expires) <= 0 || correlationID == "" {
		t.Errorf("it tells %v, error %v", got[0].Info, err)
	}
	if got := d.request("quick", asking("d1", csrFor(t, "d1"), "replace", "other")); len(got) != 1 ||
		got[0].status != 412 {
		t.Errorf("replacing another one is answered %+v", got)
	}
	if got := d.request("quick", asking("d1", csrFor(t, "d1"), "replace", "slow")); got[len(got)-1].status != 200 {
		t.Errorf("replacing it is answered %+v", got)
	}
	if got := d.request("later", asking("d1", csrFor(t, "d1"), "replace", "*")); got[len(got)-1].status != 200 {
		t.Errorf("replacing any is answered %+v", got)
	}
	// What became of the first one stands in the log, with the correlation id that the
	// other one was told.
	open()
	for deadline := time.Now().Add(20 * time.Second); !r.log.has("d1", correlationID); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the log does not tell what became of the first")
		}
	}
}

// With Exact, as with --fidelity azure, $rid has the form that replace can name, and a
// request is base64 alone.
func TestExactCertificateRequests(t *testing.T) {
	for _, exact := range []bool{false, true} {
		r := newRenewing(t, exact)
		d := r.listen("d1")
		for _, requestID := range []string{"1", "123", "-1234", "1234-", "ab_cd", strings.Repeat("1", 37)} {
			got := d.request(requestID, asking("d1", csrFor(t, "d1")))
			if last := got[len(got)-1]; exact &&
				(len(got) != 1 || last.ErrorCode != 400004 || !strings.Contains(last.Message, "$rid")) || !exact &&
				last.status != 200 {
				t.Errorf("exact %t: $rid=%s is answered %+v", exact, requestID, got)
			}
		}
		lines := csrFor(t, "d1")
		lines = lines[:64] + "\r\n" + lines[64:]
		got := d.request("1234", asking("d1", lines))
		if last := got[len(got)-1]; exact && (len(got) != 1 || last.ErrorCode != 400004) || !exact &&
			last.status != 200 {
			t.Errorf("exact %t: line breaks are answered %+v", exact, got)
		}
		if got := d.request("1234", asking("d1", csrFor(t, "d1"))); got[len(got)-1].status != 200 {
			t.Errorf("exact %t: the documented form is answered %+v", exact, got)
		}
	}
}

// packets is a connection of a device whose session is kept, and which acknowledges only
// what the test says.
type packets struct {
	net.Conn
	t       testing.TB
	present bool
}

func (f *fixture) dialPackets(id, username, token string) *packets {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	p := &packets{Conn: conn, t: f.t}
	p.send(0x10, []byte("\x00\x04MQTT\x04\xc0\x00\x3c"), text(id), text(username), text(token))
	first, body := p.read()
	if first != 0x20 || body[1] != 0 {
		f.t.Fatalf("CONNECT is answered % x % x", first, body)
	}
	p.present = body[0] == 1
	return p
}

func (p *packets) send(first byte, parts ...[]byte) {
	p.t.Helper()
	body := bytes.Join(parts, nil)
	if _, err := p.Write(append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *packets) read() (first byte, body []byte) {
	p.t.Helper()
	one := make([]byte, 1)
	if _, err := io.ReadFull(p, one); err != nil {
		p.t.Fatal(err)
	}
	size, err := binary.ReadUvarint(byteReader{p})
	if err == nil {
		body = make([]byte, size)
		_, err = io.ReadFull(p, body)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return one[0], body
}

type byteReader struct{ io.Reader }

func (b byteReader) ReadByte() (byte, error) {
	var one [1]byte
	_, err := io.ReadFull(b, one[:])
	return one[0], err
}

// answer reads up to the next PUBLISH.
func (p *packets) answer() (duplicate bool, packetID uint16, m received) {
	p.t.Helper()
	for {
		first, body := p.read()
		if first>>4 != 3 {
			continue
		}
		size := int(binary.BigEndian.Uint16(body))
		m.topic, body = string(body[2:2+size]), body[2+size:]
		if first&6 != 0 {
			packetID, body = binary.BigEndian.Uint16(body), body[2:]
		}
		m.payload = body
		return first&8 != 0, packetID, m
	}
}

// nothing makes sure that nothing more is on its way.
func (p *packets) nothing() {
	p.t.Helper()
	p.send(0xc0) // PINGREQ
	if first, body := p.read(); first != 0xd0 {
		p.t.Errorf("there came % x % x", first, body)
	}
}

// An answer of QoS 1 that was not acknowledged is delivered again when the device comes
// back to its session, with the packet id that it had; once it is acknowledged, it is
// not. That holds for refusals too.
func TestUnacknowledgedAnswersAreDeliveredAgain(t *testing.T) {
	r := newRenewing(t, false)
	username, token := r.createDevice("d1")
	ask := func(p *packets, body string) received {
		t.Helper()
		p.send(0x82, []byte{0, 9}, text("$iothub/credentials/res/#"), []byte{1})
		p.send(0x32, text(contract.IssueCertificateTopic+"$rid=1234"), []byte{0, 10}, []byte(body))
		_, id, m := p.answer()
		if o := readOutcome(t, m); o.status != 202 || id == 0 {
			t.Fatalf("the request is answered %+v", o)
		}
		duplicate, id, m := p.answer()
		if id == 0 || duplicate {
			t.Fatalf("the answer has the packet id %d, DUP %t", id, duplicate)
		}
		return m
	}
	for body, status := range map[string]int{asking("d1", csrFor(t, "d1")): 200, asking("d1", csrFor(t, "d2")): 400} {
		p := r.dialPackets("d1", username, token)
		m := ask(p, body)
		if o := readOutcome(t, m); o.status != status {
			t.Fatalf("the answer is %+v", o)
		}
		p.Close()
		var id uint16
		for range 2 {
			p = r.dialPackets("d1", username, token)
			duplicate, packetID, again := p.answer()
			if !p.present || !duplicate || id != 0 && packetID != id || again.topic != m.topic ||
				!bytes.Equal(again.payload, m.payload) {
				t.Fatalf("back in its session (%t) it gets %s with DUP %t and id %d, before %d", p.present, again.topic,
					duplicate, packetID, id)
			}
			id = packetID
			p.nothing()
			p.Close()
		}
		p = r.dialPackets("d1", username, token)
		p.answer()
		p.send(0x40, binary.BigEndian.AppendUint16(nil, id))
		p.nothing()
		p.Close()
		p = r.dialPackets("d1", username, token)
		p.nothing()
		// One that starts anew is owed nothing.
		ask(p, body)
		p.Close()
		d := r.listen("d1")
		d.Disconnect()
		p = r.dialPackets("d1", username, token)
		p.nothing()
		p.Close()
	}
}
