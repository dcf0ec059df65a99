//go:build torture

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/wire/mqtt"
)

const (
	insiders     = 5   // devices with a credential that misuse it
	stormDevices = 200 // honest devices of an impatient kind: they all come at once and give up soon
)

// attack is what a hostile process needs to know. It is a process of its own, so
// that what it does costs the honest devices nothing but the server's attention.
type attack struct {
	MQTT, HTTPS string // where the server is
	Portal      string
	Authority   string // file
	IDScope     string
	Host        string // of the hub
	Key         string // of the insiders and of the storm
	Policy      string // connection string of the hub's owner
	Folder      string // for stop and result
	For         time.Duration

	made  map[string]*atomic.Int64
	roots *x509.CertPool
	chain tls.Certificate // long, and costly to judge
}

// An attacker does something hostile once. What comes of it is for the server to
// survive; an error only says that it could not even be tried.
type attacker struct {
	kind     string
	every    time.Duration
	attempts int // side by side
	strike   func(a *attack, ctx context.Context, from net.IP) error
}

// attackers are the kinds of attack.
var attackers = []attacker{
	{"bytes that are no TLS", 20 * time.Millisecond, 1, (*attack).noTLS},
	{"silent connections", 20 * time.Millisecond, 100, (*attack).silent},
	{"malformed packets", 50 * time.Millisecond, 20, (*attack).malformedPackets},
	{"malformed packets of a device", 200 * time.Millisecond, 2, (*attack).malformedPacketsInside},
	{"deep JSON in registrations", 100 * time.Millisecond, 5, (*attack).deepRegistration},
	{"deep JSON of a device", 200 * time.Millisecond, 1, (*attack).deepInside},
	{"deep JSON of a back end", 500 * time.Millisecond, 1, (*attack).deepREST},
	{"hostile chains", 100 * time.Millisecond, 5, (*attack).hostileChain},
	{"wrong tokens", 50 * time.Millisecond, 1, (*attack).wrongToken},
	{"malformed HTTP", 50 * time.Millisecond, 5, (*attack).malformedHTTP},
	{"slow HTTP", 200 * time.Millisecond, 20, (*attack).slowHTTP},
	{"malformed WebSockets", 100 * time.Millisecond, 5, (*attack).malformedWebSocket},
	{"floods of a device", 2 * time.Second, 1, (*attack).flood},
	{"slow readers", time.Second, 5, (*attack).slowReader},
	{"storms of returning devices", 20 * time.Second, 1, (*attack).storm},
}

func (a *attack) kinds() (kinds []string) {
	for _, each := range attackers {
		kinds = append(kinds, each.kind)
	}
	return kinds
}

// prepareAttack makes the devices that the attackers have.
func prepareAttack(t *testing.T, p *process) *attack {
	t.Helper()
	ctx := within(t, time.Minute)
	a := &attack{MQTT: cli.Loopback(p.info.Ports.MQTT), HTTPS: cli.Loopback(p.info.Ports.HTTPS),
		Authority: p.info.CAFile, IDScope: p.info.IDScope,
		Host: p.info.Hubs[0].Host, Key: credential.NewKey(32), Policy: p.info.Hubs[0].ConnectionString,
		Folder: t.TempDir()}
	for i := range insiders + stormDevices {
		id := fmt.Sprintf("insider-%d", i)
		if i >= insiders {
			id = fmt.Sprintf("storm-%d", i-insiders)
		}
		other := credential.NewKey(32)
		if _, err := p.hub.CreateDevice(ctx, identity.Device{DeviceID: id, Authentication: &identity.Authentication{
			Type:         identity.SAS,
			SymmetricKey: identity.KeyPair{PrimaryKey: &a.Key, SecondaryKey: &other}}}); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// hostileProcess is an attack under way.
type hostileProcess struct {
	command *exec.Cmd
	output  bytes.Buffer
	folder  string
}

// start starts the attack in a process that yields to the honest devices' own, and
// that ends by itself after the given time.
func (a *attack) start(t *testing.T, length time.Duration) *hostileProcess {
	t.Helper()
	a.For = length
	encoded, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	h := &hostileProcess{command: exec.Command("nice", "-n", "10", os.Args[0], "-test.run=^TestHostileProcess$",
		"-test.timeout=0"), folder: a.Folder}
	h.command.Env = append(os.Environ(), "BERTH_ATTACK="+string(encoded))
	h.command.Stdout, h.command.Stderr = &h.output, &h.output
	if err := h.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.command.Process.Kill()
		h.command.Wait()
	})
	return h
}

// stop ends the attack and returns how often each kind was made.
func (h *hostileProcess) stop(t *testing.T) (made map[string]int64) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.folder, "stop"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.command.Wait(); err != nil {
		t.Fatalf("the attackers: %v\n%s", err, &h.output)
	}
	text, err := os.ReadFile(filepath.Join(h.folder, "made"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &made); err != nil {
		t.Fatal(err)
	}
	return made
}

// TestHostileProcess is the process that attacks; TestTorture starts it.
func TestHostileProcess(t *testing.T) {
	text := os.Getenv("BERTH_ATTACK")
	if text == "" {
		return // the test is TestTorture
	}
	a := &attack{made: make(map[string]*atomic.Int64)}
	if err := json.Unmarshal([]byte(text), a); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.roots, err = cli.ReadAuthorities(a.Authority); err != nil {
		t.Fatal(err)
	}
	if a.chain, err = costlyChain(15); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), a.For)
	defer cancel()
	for i, each := range attackers {
		count := new(atomic.Int64)
		a.made[each.kind] = count
		go a.repeat(ctx, each, byte(2+i), count)
	}
	for ctx.Err() == nil {
		if _, err := os.Stat(filepath.Join(a.Folder, "stop")); err == nil {
			break
		}
		pauseFor(ctx, 100*time.Millisecond)
	}
	cancel()
	made := make(map[string]int64)
	for kind, count := range maps.All(a.made) {
		made[kind] = count.Load()
	}
	encoded, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.Folder, "made"), encoded, 0o600); err != nil {
		t.Fatal(err)
	}
}

// repeat strikes again and again from two addresses of its own. What was tried and
// reached the server is counted.
func (a *attack) repeat(ctx context.Context, each attacker, network byte, count *atomic.Int64) {
	sideBySide := make(chan struct{}, each.attempts)
	for turn := byte(0); ctx.Err() == nil; turn++ {
		select {
		case sideBySide <- struct{}{}:
		case <-ctx.Done():
			return
		}
		go func() {
			defer func() { <-sideBySide }()
			if err := each.strike(a, ctx, net.IPv4(127, 0, network, 2+turn%2)); err == nil {
				count.Add(1)
			}
		}()
		pauseFor(ctx, each.every)
	}
}

const attackTime = 10 * time.Second // of one attack, but for those that are slow on purpose

func dialFrom(ctx context.Context, from net.IP, address string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(attackTime))
	return conn, nil
}

func (a *attack) dialTLS(ctx context.Context, from net.IP, address string,
	certificates ...tls.Certificate) (*tls.Conn, error) {
	conn, err := dialFrom(ctx, from, address)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, &tls.Config{RootCAs: a.roots, ServerName: "127.0.0.1", Certificates: certificates})
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// device opens a session of a device that has a key.
func (a *attack) device(ctx context.Context, from net.IP, id string, clean bool) (*mqtt.Client, net.Conn, error) {
	conn, err := a.dialTLS(ctx, from, a.MQTT)
	if err != nil {
		return nil, nil, err
	}
	token, err := credential.NewToken(a.Host+"/devices/"+id, "", a.Key, time.Now().Add(time.Hour))
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	connect := mqtt.Connect{ClientID: id, Username: a.Host + "/" + id + "/?api-version=2021-04-12",
		Password: []byte(token), HasPassword: true, CleanSession: clean, KeepAlive: 60}
	client, _, err := mqtt.NewClient(ctx, conn, &connect, func(string, []byte) {})
	return client, conn, err
}

func anInsider() string { return fmt.Sprintf("insider-%d", mathrand.IntN(insiders)) }

// spend reads what the server says until it ends the connection, or the deadline.
func spend(conn net.Conn) error {
	io.Copy(io.Discard, conn)
	return conn.Close()
}

func (a *attack) noTLS(ctx context.Context, from net.IP) error {
	address := []string{a.MQTT, a.HTTPS}[mathrand.IntN(2)]
	conn, err := dialFrom(ctx, from, address)
	if err != nil {
		return err
	}
	junk := make([]byte, mathrand.IntN(2000))
	rand.Read(junk)
	switch mathrand.IntN(4) {
	case 0:
		junk = append([]byte("\x16\x03\x01\xff\xff\x01\x00"), junk...) // a ClientHello that never ends
		conn.SetDeadline(time.Now().Add(time.Second))
	case 1:
		junk = []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	case 2:
		junk = []byte("\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00") // MQTT without TLS
	}
	conn.Write(junk)
	return spend(conn)
}

func (a *attack) silent(ctx context.Context, from net.IP) error {
	address := []string{a.MQTT, a.MQTT, a.HTTPS}[mathrand.IntN(3)]
	conn, err := dialFrom(ctx, from, address)
	if err != nil {
		return err
	}
	return spend(conn)
}

// packets are of every kind that a client sends, and some that none does.
var packets = []string{
	"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04dev1",
	"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x04dev1",
	"\x10\x12\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x04dev1",
	"\x82\x10\x00\x01\x00\x0b$dps/reg/#\x00\x00",
	"\x32\x14\x00\x05$dps/registrations/P",
	"\x30\x05\x00\x03a/bX",
	"\xc0\x00", "\xe0\x00", "\x40\x02\x00\x01", "\xf0\x00", "\x00\x00", "\x62\x02\x00\x01",
}

// malformed is a packet that is cut, stretched, or has some bytes changed.
func malformed() []byte {
	packet := []byte(packets[mathrand.IntN(len(packets))])
	for range mathrand.IntN(4) {
		packet[mathrand.IntN(len(packet))] = byte(mathrand.IntN(256))
	}
	switch mathrand.IntN(4) {
	case 0:
		return packet[:mathrand.IntN(len(packet))]
	case 1:
		return append(packet, make([]byte, mathrand.IntN(100_000))...)
	case 2:
		return append(packet, packet...)
	}
	return packet
}

func (a *attack) malformedPackets(ctx context.Context, from net.IP) error {
	conn, err := a.dialTLS(ctx, from, a.MQTT)
	if err != nil {
		return err
	}
	switch mathrand.IntN(3) {
	case 0: // a long user name, which is refused
		conn.Write(connectPacket("dev1", strings.Repeat("\x01é\"", 15_000), ""))
	case 1: // somebody who may register, and then breaks the protocol
		conn.Write(connectPacket("dev1", a.IDScope+"/registrations/dev1/api-version=2019-03-31", ""))
		conn.Write(malformed())
	}
	conn.Write(malformed())
	return spend(conn)
}

// connectPacket is a CONNECT of any size up to 2 MiB.
func connectPacket(client, user, password string) []byte {
	var body []byte
	add := func(text string) { body = append(append(body, byte(len(text)>>8), byte(len(text))), text...) }
	add("MQTT")
	flags := byte(0x82)
	if password != "" {
		flags |= 0x40
	}
	body = append(body, 4, flags, 0, 60)
	add(client)
	add(user)
	if password != "" {
		add(password)
	}
	return packet(0x10, body)
}

func packet(first byte, body []byte) []byte {
	head := []byte{first}
	for size := len(body); ; {
		digit := byte(size & 0x7f)
		if size >>= 7; size > 0 {
			head = append(head, digit|0x80)
			continue
		}
		return append(append(head, digit), body...)
	}
}

func publishPacket(topic string, payload string) []byte {
	body := append([]byte{byte(len(topic) >> 8), byte(len(topic))}, topic...)
	return packet(0x30, append(body, payload...))
}

func (a *attack) malformedPacketsInside(ctx context.Context, from net.IP) error {
	id := anInsider()
	client, conn, err := a.device(ctx, from, id, mathrand.IntN(2) == 0)
	if err != nil {
		return err
	}
	defer client.Abort()
	switch mathrand.IntN(4) {
	case 0: // many filters at once
		var body []byte
		body = append(body, 0, 9)
		for i := range 4000 {
			filter := fmt.Sprintf("a/%d", i)
			body = append(append(body, 0, byte(len(filter))), filter...)
			body = append(body, 1)
		}
		conn.Write(packet(0x82, body))
	case 1: // many requests at once
		for i := range 200 {
			conn.Write(publishPacket(fmt.Sprintf("$iothub/twin/GET/?$rid=%d", i), ""))
		}
	case 2: // properties without end
		conn.Write(publishPacket("devices/"+id+"/messages/events/"+strings.Repeat("a=b&", 15_000), "x"))
	}
	conn.Write(malformed())
	select {
	case <-client.Ended():
	case <-time.After(time.Second):
	}
	return nil
}

func deep(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

func someDepth() int { return []int{100, 9_998, 9_999, 10_000, 100_000}[mathrand.IntN(5)] }

func (a *attack) deepRegistration(ctx context.Context, from net.IP) error {
	conn, err := a.dialTLS(ctx, from, a.MQTT)
	if err != nil {
		return err
	}
	conn.Write(connectPacket("dev2", a.IDScope+"/registrations/dev2/api-version=2019-03-31",
		"SharedAccessSignature sr=x&sig=eA%3D%3D&se=9999999999"))
	conn.Write(publishPacket("$dps/registrations/PUT/iotdps-register/?$rid=1", `{"registrationId":"dev2","payload":`+
		deep(someDepth())+`}`))
	conn.SetDeadline(time.Now().Add(time.Second))
	return spend(conn)
}

func (a *attack) deepInside(ctx context.Context, from net.IP) error {
	id := anInsider()
	client, conn, err := a.device(ctx, from, id, true)
	if err != nil {
		return err
	}
	defer client.Abort()
	conn.Write(publishPacket("devices/"+id+"/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8",
		deep(someDepth())))
	conn.Write(publishPacket("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"a":`+deep(someDepth())+`}`))
	select {
	case <-client.Ended():
	case <-time.After(500 * time.Millisecond):
	}
	return nil
}

func (a *attack) httpClient(from net.IP) *http.Client {
	return &http.Client{Timeout: attackTime, Transport: &http.Transport{
		DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: a.roots, ServerName: "127.0.0.1"},
		DisableKeepAlives: true,
	}}
}

func (a *attack) deepREST(ctx context.Context, from net.IP) error {
	policy, err := credential.ParseConnectionString(a.Policy)
	if err != nil {
		return err
	}
	token, err := credential.NewToken(a.Host, policy.SharedAccessKeyName, policy.SharedAccessKey,
		time.Now().Add(time.Hour))
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, "https://"+a.HTTPS+"/twins/"+anInsider()+
		"?api-version=2021-04-12", strings.NewReader(`{"tags":{"deep":`+deep(someDepth())+`}}`))
	if err != nil {
		return err
	}
	request.Host = a.Host
	request.Header.Set("Authorization", token)
	return a.ask(request, from)
}

// ask makes a request, whatever is answered.
func (a *attack) ask(request *http.Request, from net.IP) error {
	answer, err := a.httpClient(from).Do(request)
	if err != nil {
		return err
	}
	io.Copy(io.Discard, answer.Body)
	return answer.Body.Close()
}

// costlyChain is a chain whose certificates take turns with two names, each signed
// by all that have the other, as far as names tell.
func costlyChain(length int) (tls.Certificate, error) {
	var chain tls.Certificate
	names := []pkix.Name{{CommonName: "one"}, {CommonName: "other"}}
	var parent *x509.Certificate
	var parentKey *ecdsa.PrivateKey
	for i := range length {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		if err != nil {
			return chain, err
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: names[i%2],
			NotBefore: time.Now().Add(-time.Hour),
			NotAfter:  time.Now().Add(24 * time.Hour), BasicConstraintsValid: true, IsCA: i < length-1,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
		if parent == nil {
			parent, parentKey = &x509.Certificate{Subject: names[1]}, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		if err != nil {
			return chain, err
		}
		if parent, err = x509.ParseCertificate(der); err != nil {
			return chain, err
		}
		parentKey = key
		chain.Certificate = append(chain.Certificate, der)
		chain.PrivateKey = key
	}
	slices.Reverse(chain.Certificate)
	return chain, nil
}

func (a *attack) hostileChain(ctx context.Context, from net.IP) error {
	conn, err := a.dialTLS(ctx, from, a.MQTT, a.chain)
	if err != nil {
		return err
	}
	conn.Write(connectPacket("other", a.IDScope+"/registrations/other/api-version=2019-03-31", ""))
	for i := range 5 { // one connection, many judgements
		conn.Write(publishPacket(fmt.Sprintf("$dps/registrations/PUT/iotdps-register/?$rid=%d", i),
			`{"registrationId":"other"}`))
	}
	conn.SetDeadline(time.Now().Add(2 * time.Second))
	return spend(conn)
}

func (a *attack) wrongToken(ctx context.Context, from net.IP) error {
	id := fmt.Sprintf("guess-%d", mathrand.IntN(1000))
	if mathrand.IntN(2) == 0 { // at the hub
		token, err := credential.NewToken(a.Host+"/devices/"+anInsider(), "", credential.NewKey(32),
			time.Now().Add(time.Hour))
		if err != nil {
			return err
		}
		conn, err := a.dialTLS(ctx, from, a.MQTT)
		if err != nil {
			return err
		}
		insider := anInsider()
		conn.Write(connectPacket(insider, a.Host+"/"+insider+"/?api-version=2021-04-12", token))
		conn.SetDeadline(time.Now().Add(time.Second))
		return spend(conn)
	}
	token, err := credential.NewToken(a.IDScope+"/registrations/"+id, "registration", credential.NewKey(32),
		time.Now().Add(time.Hour))
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://"+a.HTTPS+"/"+a.IDScope+"/registrations/"+
		id+"/register?api-version=2019-03-31", strings.NewReader(`{"registrationId":"`+id+`"}`))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", token)
	request.Header.Set("Content-Type", "application/json")
	return a.ask(request, from)
}

func (a *attack) malformedHTTP(ctx context.Context, from net.IP) error {
	conn, err := a.dialTLS(ctx, from, a.HTTPS)
	if err != nil {
		return err
	}
	requests := []string{
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\nx",
		"POST /devices/query HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
		"GET /" + strings.Repeat("a/", 20_000) + " HTTP/1.1\r\n\r\n",
		"GET /%00%ff..//..%2f..%2fetc HTTP/1.1\r\nHost: localhost\r\nAuthorization: SharedAccessSignature " +
			strings.Repeat("x", 10_000) + "\r\n\r\n", "\x00\x01\x02\x03\r\n\r\n",
		"DELETE /enrollments/* HTTP/1.1\r\nHost: localhost\r\nIf-Match: " + strings.Repeat("\"", 1000) + "\r\n\r\n",
	}
	conn.Write([]byte(requests[mathrand.IntN(len(requests))]))
	conn.SetDeadline(time.Now().Add(time.Second))
	return spend(conn)
}

func (a *attack) slowHTTP(ctx context.Context, from net.IP) error {
	conn, err := a.dialTLS(ctx, from, a.HTTPS)
	if err != nil {
		return err
	}
	conn.Write([]byte("PUT /enrollments/x HTTP/1.1\r\nHost: localhost\r\n"))
	for range 8 {
		if _, err := conn.Write([]byte("X-Slow: 1\r\n")); err != nil {
			break
		}
		pauseFor(ctx, time.Second)
	}
	return conn.Close()
}

func (a *attack) malformedWebSocket(ctx context.Context, from net.IP) error {
	conn, err := a.dialTLS(ctx, from, a.HTTPS)
	if err != nil {
		return err
	}
	conn.Write(
		[]byte("GET /$iothub/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"))
	frames := []string{"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x82\x05hello", "\x81\x80\x00\x00\x00\x00",
		"\x8f\x80\x00\x00\x00\x00", "\x82\x8c\x00\x00\x00\x00\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c"}
	conn.Write([]byte(frames[mathrand.IntN(len(frames))]))
	conn.SetDeadline(time.Now().Add(time.Second))
	return spend(conn)
}

// flood sends a thousand messages as fast as the connection takes them.
func (a *attack) flood(ctx context.Context, from net.IP) error {
	id := anInsider()
	client, conn, err := a.device(ctx, from, id, true)
	if err != nil {
		return err
	}
	defer client.Abort()
	burst := bytes.Repeat(publishPacket("devices/"+id+"/messages/events/", strings.Repeat("x", 100)), 1000)
	_, err = conn.Write(burst)
	return err
}

// slowReader asks for much and reads nothing.
func (a *attack) slowReader(ctx context.Context, from net.IP) error {
	conn, err := a.dialTLS(ctx, from, a.MQTT)
	if err != nil {
		return err
	}
	id := anInsider()
	token, err := credential.NewToken(a.Host+"/devices/"+id, "", a.Key, time.Now().Add(time.Hour))
	if err != nil {
		return err
	}
	conn.Write(connectPacket(id, a.Host+"/"+id+"/?api-version=2021-04-12", token))
	for i := range 20_000 {
		if _, err := conn.Write(publishPacket(fmt.Sprintf("$iothub/twin/GET/?$rid=%d", i), "")); err != nil {
			break
		}
	}
	return conn.Close()
}

// storm has many devices connect at once; who is not through in four seconds gives
// up and comes again, until a round is over.
func (a *attack) storm(ctx context.Context, _ net.IP) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	done := make(chan error, stormDevices)
	for i := range stormDevices {
		go func() {
			from := net.IPv4(127, 1, byte(i>>8), byte(i))
			for ctx.Err() == nil {
				impatient, give := context.WithTimeout(ctx, 4*time.Second)
				client, _, err := a.device(impatient, from, fmt.Sprintf("storm-%d", i), true)
				give()
				if err == nil {
					client.Abort()
					done <- nil
					return
				}
				pauseFor(ctx, time.Duration(mathrand.IntN(1000))*time.Millisecond)
			}
			done <- errors.New("never let in")
		}()
	}
	var failed error
	for range stormDevices {
		failed = errors.Join(failed, <-done)
	}
	return failed
}
