package server

import (
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
	"net"
	"testing"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cluster/local"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	berth "github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

// nodes are two servers of one service: on the same documents and logs, and on one network.
// The authority of its TLS certificates each has for itself.
type nodes struct {
	a, b      *fixture
	documents store.Documents
}

func newNodes(t *testing.T) *nodes {
	t.Helper()
	shared, network := memory.New(), local.NewNetwork()
	n := &nodes{documents: shared.Open()}
	for name, h := range map[string]**fixture{"a": &n.a, "b": &n.b} {
		*h = &fixture{t: t, config: Config{DataDir: t.TempDir(), Host: "localhost", HubHost: "127.0.0.1",
			Listen: "127.0.0.1", node: node{name, shared.Open(), shared.OpenLogs(nil), network.Node()}}}
		(*h).start()
		t.Cleanup((*h).stop)
	}
	return n
}

// assign enrolls a device and has it registered at a node.
func assign(h *fixture, id string) *deviceKeys {
	h.t.Helper()
	keys := validKeys(h.t, id)
	h.enroll(keys)
	body := `{"registrationId":"` + id + `"}`
	if answer := h.provision(&keys, h.Info().IDScope, id).ask(registerTopic,
		body); answer.body["status"] != "assigned" {
		h.t.Fatalf("registering %s is answered %+v", id, answer)
	}
	return &keys
}

func ended(d *device) bool {
	select {
	case <-d.Ended():
		return true
	default:
		return false
	}
}

// A device is connected to one node at a time, and is reached from both.
func TestDeviceOfTwoNodes(t *testing.T) {
	n, ctx := newNodes(t), context.Background()
	if n.a.Info().IDScope != n.b.Info().IDScope {
		t.Fatalf("the nodes have the ID scopes %s and %s", n.a.Info().IDScope, n.b.Info().IDScope)
	}
	keys := assign(n.a, "d1")
	first := n.a.berth(keys, "d1")
	second := n.b.berth(keys, "d1")
	until(t, "a connection at b ends the one at a", func() bool { return ended(first) })
	if ended(second) {
		t.Fatalf("the newer connection has ended: %v", second.Err())
	}

	for _, h := range []*fixture{n.a, n.b} {
		found, err := h.hub.Device(ctx, "d1")
		if err != nil || found.ConnectionState != "Connected" {
			t.Errorf("the device is %+v, %v", found, err)
		}
		if connected, err := h.hub.ServiceStatistics(ctx); err != nil || connected.ConnectedDeviceCount != 1 {
			t.Errorf("%d devices are connected, %v", connected.ConnectedDeviceCount, err)
		}
	}

	second.subscribe("$iothub/twin/PATCH/properties/desired/#")
	patch := json.RawMessage(`{"properties":{"desired":{"interval":9}}}`)
	if _, err := n.a.hub.PatchTwin(ctx, "d1", patch, ""); err != nil {
		t.Fatal(err)
	}
	if told := second.next(); told.body["interval"] != 9.0 {
		t.Errorf("by a, the device at b is told %+v", told)
	}

	if err := second.Publish("devices/d1/messages/events/", []byte("hello"), 1, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "what the device sends to b is read at a", func() (read bool) {
		err := n.a.hub.Telemetry(ctx, telemetry.Position{Earliest: true}, "", 1, func(m telemetry.Message) error {
			read = m.Body == "hello"
			return nil
		})
		return err == nil && read
	})

	second.subscribe("devices/d1/messages/devicebound/#")
	sent := contract.DeviceMessage{MessageID: "m1", Ack: "positive", Payload: `{"open":"valve"}`}
	if _, err := n.a.hub.SendMessage(ctx, "d1", sent); err != nil {
		t.Fatal(err)
	}
	if received := second.next(); received.body["open"] != "valve" {
		t.Errorf("sent by a, the device at b receives %+v", received)
	}
	until(t, "a tells that the device at b has taken a message", func() bool {
		feedback, err := n.a.hub.ReceiveFeedback(ctx)
		return err == nil && len(feedback.Records) == 1 && feedback.Records[0].StatusCode == "Success"
	})

	found, err := n.a.hub.Device(ctx, "d1")
	if err != nil {
		t.Fatal(err)
	}
	found.Status = "disabled"
	if _, err := n.a.hub.UpdateDevice(ctx, found, "*"); err != nil {
		t.Fatal(err)
	}
	until(t, "a device that is disabled at a is cut off from b", func() bool { return ended(second) })
}

// A method of a device is called from either node, answers come back to the one that
// called, and calls that wait learn of a device that comes to the other.
func TestMethodsOfTwoNodes(t *testing.T) {
	n, ctx := newNodes(t), t.Context()
	created, err := n.a.hub.CreateDevice(ctx, identity.Device{DeviceID: "d1"})
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan string, 10)
	options := berth.HubOptions{DeviceID: "d1", SASKey: *created.Authentication.SymmetricKey.PrimaryKey,
		CleanSession: true, OnMethod: func(name string, payload json.RawMessage) (int, json.RawMessage) {
			if began <- name; name == "hang" {
				<-ctx.Done()
			}
			return 207, payload
		}}
	connect := func(h *fixture) *berth.Client {
		t.Helper()
		options.Host, options.RootCAs = fmt.Sprintf("127.0.0.1:%d", h.Info().Ports.MQTT), h.roots
		client, err := berth.Connect(ctx, options)
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	seconds := 20
	answered := make(chan error, 1)
	go func() {
		answer, err := n.a.hub.InvokeMethod(ctx, "d1", contract.MethodCall{MethodName: "echo",
			Payload: json.RawMessage(`{"from":"a"}`), ConnectTimeout: &seconds})
		if err == nil && (answer.Status != 207 || string(answer.Payload) != `{"from":"a"}`) {
			err = fmt.Errorf("answered %d %s", answer.Status, answer.Payload)
		}
		answered <- err
	}()
	client := connect(n.b)
	if err := <-answered; err != nil {
		t.Errorf("a call at a that waits for the device at b: %v", err)
	}
	<-began
	for _, h := range []*fixture{n.a, n.b} {
		answer, err := h.hub.InvokeMethod(ctx, "d1", contract.MethodCall{MethodName: "echo"})
		if err != nil || answer.Status != 207 || string(answer.Payload) != "null" {
			t.Errorf("answered %+v, %v", answer, err)
		}
		<-began
	}
	go func() {
		_, err := n.a.hub.InvokeMethod(ctx, "d1", contract.MethodCall{MethodName: "hang"})
		answered <- err
	}()
	<-began
	if err := client.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := <-answered; !errors.Is(err, fault.DeviceGone) {
		t.Errorf("the device has gone from b, and a is answered %v", err)
	}
	if _, err := n.a.hub.InvokeMethod(ctx, "d1", contract.MethodCall{MethodName: "echo"}); !errors.Is(err,
		fault.DeviceNotOnline) {
		t.Errorf("no device, and a is answered %v", err)
	}
}

// A certificate that is revoked at one node ends the connection that it had let in at the
// other.
func TestRevocationOfTwoNodes(t *testing.T) {
	n, ctx := newNodes(t), context.Background()
	key := credential.NewKey(32)
	_, err := n.a.provisioning.PutEnrollment(ctx, enroll.Enrollment{RegistrationID: "d1",
		Settings: enroll.Settings{CredentialPolicyName: "default",
			Attestation: enroll.AttestationMechanism{Type: "symmetricKey",
				SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: key, SecondaryKey: credential.NewKey(32)}}}},
		"")
	if err != nil {
		t.Fatal(err)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "d1"}}, private)
	if err != nil {
		t.Fatal(err)
	}
	host := fmt.Sprintf("127.0.0.1:%d", n.a.Info().Ports.MQTT)
	registered, err := berth.Provision(ctx, berth.ProvisioningOptions{Host: host, IDScope: n.a.Info().IDScope,
		RegistrationID: "d1", SASKey: key, RootCAs: n.a.roots, CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	connected := n.b.berth(&deviceKeys{Certificate: tls.Certificate{
		Certificate: registered.RegistrationState.IssuedCertificateChain, PrivateKey: private}}, "d1")
	if revoked, err := n.a.provisioning.RevokeIssuedTo(ctx, "d1"); err != nil || revoked != 1 {
		t.Fatalf("%d certificates are revoked, %v", revoked, err)
	}
	until(t, "a certificate that is revoked at a ends the connection at b", func() bool { return ended(connected) })
}

// What is configured at one node counts at the other.
func TestConfigurationOfTwoNodes(t *testing.T) {
	n, ctx := newNodes(t), context.Background()
	options := backend.Options{RootCAs: n.b.roots, Address: fmt.Sprintf("127.0.0.1:%d", n.b.Info().Ports.HTTPS)}
	policy, err := n.a.provisioning.CreatePolicy(ctx, "reader", []string{provisioning.EnrollmentRead})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := backend.NewProvisioning(credential.ConnectionString{HostName: "localhost",
		SharedAccessKeyName: policy.Name, SharedAccessKey: policy.PrimaryKey}.String(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	allowed := func() bool {
		_, _, err := reader.Enrollments(ctx, "", "", 1)
		if err != nil && !errors.Is(err, fault.UnauthorizedAccess) {
			t.Fatal(err)
		}
		return err == nil
	}
	until(t, "a policy that is made at a is good at b", allowed)
	if err := n.a.provisioning.DeletePolicy(ctx, policy.Name, ""); err != nil {
		t.Fatal(err)
	}
	until(t, "a policy that is deleted at a is good no more at b", func() bool { return !allowed() })

	network := allocation.Network{Prefix: "10.1.0.0/16", Latencies: map[string]float64{"here": 1}}
	if _, err := n.a.provisioning.PutNetwork(ctx, network, ""); err != nil {
		t.Fatal(err)
	}
	until(t, "a network that is configured at a counts at b", func() bool {
		networks, err := n.b.provisioning.Networks(ctx)
		return err == nil && len(networks) == 1
	})
	if err := n.b.provisioning.UnlinkHub(ctx, "127.0.0.1", "", false); err != nil {
		t.Fatal(err)
	}
	until(t, "a hub that is unlinked at b is no more at a", func() bool {
		links, err := n.a.provisioning.HubLinks(ctx)
		return err == nil && len(links) == 0
	})
	if _, err := n.a.provisioning.LinkHub(ctx, linkedhub.Link{HostName: "127.0.0.1", Local: true}, ""); err != nil {
		t.Fatal(err)
	}

	keys := assign(n.b, "d1")
	wanted := inject.Fault{Kind: inject.Throttle, RegistrationID: "d1"}
	if _, err := n.a.provisioning.InjectFault(ctx, wanted); err != nil {
		t.Fatal(err)
	}
	again := n.b.provision(keys, n.b.Info().IDScope, "d1")
	if answer := again.ask(registerTopic,
		`{"registrationId":"d1"}`); answer.body["errorCode"] != float64(fault.Throttled) {
		t.Errorf("a fault that was injected at a: b answers %+v", answer)
	}
}

// A hub that is created at one node is there at the other, for those who want to manage it
// and for devices that are assigned to it.
func TestHubOfTwoNodes(t *testing.T) {
	n, ctx := newNodes(t), context.Background()
	if _, err := n.a.provisioning.CreateHub(ctx, "second", "127.0.0.2"); err != nil {
		t.Fatal(err)
	}
	until(t, "b has the hub", func() bool { return len(n.b.Info().Hubs) == 2 })
	links, err := n.b.provisioning.HubLinks(ctx)
	if err != nil || len(links) != 2 || links[1].HostName != "127.0.0.2" || links[1].Hub != "second" {
		t.Errorf("linked at b are %+v, %v", links, err)
	}
	if _, err := n.b.provisioning.CreateHub(ctx, "second", "127.0.0.3"); !errors.Is(err, fault.Conflict) {
		t.Errorf("another of its name at b: %v", err)
	}
	if _, err := n.b.provisioning.CreateHub(ctx, "third", "127.0.0.3"); err != nil {
		t.Fatal(err)
	}
	until(t, "a has the hub", func() bool { return len(n.a.Info().Hubs) == 3 })
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.a.Info().Ports.MQTT),
		&tls.Config{RootCAs: n.a.roots, ServerName: "127.0.0.3"})
	if err != nil {
		t.Fatalf("a's certificate is not good for the hub that b has created: %v", err)
	}
	conn.Close()
}

// One of the nodes sweeps.
func TestSweepOfTwoNodes(t *testing.T) {
	n := newNodes(t)
	leases := store.NewTable[struct {
		Node   string
		Number int64
	}](n.documents, "cluster/leases")
	until(t, "a node sweeps", func() bool {
		_, _, err := leases.Get(t.Context(), "provisioning/sweep")
		return err == nil
	})
	holder, _, err := leases.Get(t.Context(), "provisioning/sweep")
	if err != nil || holder.Node != "a" && holder.Node != "b" || holder.Number != 1 {
		t.Errorf("the sweep is that of %+v, %v", holder, err)
	}
}
