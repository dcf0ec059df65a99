package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/attempts"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
	"github.com/berth-iot/berth/wire/mqtt"
)

const testScope = "0ne0000ABCD"

// acceptingHub is a linked hub that accepts every device and remembers none.
type acceptingHub struct{}

func (acceptingHub) Host() string { return "hub.local" }
func (acceptingHub) EnsureDevice(context.Context, linkedhub.Admission) (string, error) {
	return "1", nil
}
func (acceptingHub) Identity(context.Context, linkedhub.Admission) (linkedhub.Identity, error) {
	return linkedhub.Identity{}, nil
}
func (acceptingHub) Check(linkedhub.Admission) error { return nil }
func (acceptingHub) Twin(context.Context, string) (*linkedhub.InitialTwin, error) {
	return nil, nil
}
func (acceptingHub) Remove(context.Context, string) error { return nil }

// registering is a fixture that serves a provisioning service too, in which the device
// pump-1 is enrolled.
type registering struct {
	*fixture
	dps *provisioning.Service
	key string // of pump-1
}

func newRegistering(t *testing.T, configure ...func(*provisioning.Config)) *registering {
	t.Helper()
	r := &registering{}
	kept := memory.New()
	documents, logs := kept.Open(), kept.OpenLogs(nil)
	log, err := logs.Open("attempts", store.LogOptions{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	config := provisioning.Config{IDScope: testScope, Host: "dps.local", Documents: documents, Attempts: log,
		Hubs: []linkedhub.Hub{acceptingHub{}}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	for _, change := range configure {
		change(&config)
	}
	if r.dps, err = provisioning.Open(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.dps.Close(context.Background()), logs.Close(), documents.Close()); err != nil {
			t.Error(err)
		}
	})
	enrollment := enroll.Enrollment{RegistrationID: "pump-1"}
	enrollment.Attestation.Type = "symmetricKey"
	if enrollment, err = r.dps.Enrollments().Create(t.Context(), enrollment); err != nil {
		t.Fatal(err)
	}
	r.key = enrollment.Attestation.SymmetricKey.PrimaryKey
	r.fixture = newFixture(t, func(_ *hub.Config, served *Config) { served.Provisioning = r.dps })
	return r
}

// dial connects a device that may register as id, with a token made with this key.
func (r *registering) dial(id, key string) *device {
	r.t.Helper()
	token, err := credential.NewToken(testScope+"/registrations/"+id, "registration", key, time.Now().Add(time.Hour))
	if err != nil {
		r.t.Fatal(err)
	}
	return r.connectAs(id, testScope+"/registrations/"+id+"/api-version=2019-03-31", token, true)
}

// subscribed is a device that is told what became of its requests.
func (r *registering) subscribed(id, key string) *device {
	r.t.Helper()
	d := r.dial(id, key)
	codes, err := d.Subscribe(r.t.Context(), mqtt.Subscription{Filter: contract.RegistrationAnswers.Filter(), QoS: 1})
	if err != nil || codes[0] != 1 {
		r.t.Fatalf("subscribing is answered %v, error %v", codes, err)
	}
	return d
}

// attempt returns the latest attempt of a device, which is written behind its answer.
func (r *registering) attempt(id string) (check string, code int) {
	r.t.Helper()
	var found []attest.Attempt
	until(r.t, "there is an attempt of "+id, func() (there bool) {
		var err error
		if found, err = r.dps.Attempts().Find(r.t.Context(), attempts.Filter{RegistrationID: id, Max: 1}); err != nil {
			r.t.Fatal(err)
		}
		return len(found) > 0
	})
	failed, _ := found[0].Checks.Failed()
	return failed.Name, found[0].Code
}

var operationID = regexp.MustCompile(`"operationId":"([^"]+)"`)

// A registration, from the request to a poll for what became of it, as it is on the wire.
func TestRegistration(t *testing.T) {
	r := newRegistering(t)
	d := r.subscribed("pump-1", r.key)
	answer := d.ask(contract.RegisterTopic+"$rid=1", `{"registrationId":"pump-1"}`)
	operation := operationID.FindStringSubmatch(answer)
	if operation == nil {
		t.Fatalf("registering is answered %s", answer)
	}
	poll := contract.RegistrationStatusTopic
	for _, c := range []struct {
		topic, payload, want string
		says                 []string
	}{
		{poll + "$rid=2&operationId=" + operation[1], "", "200/?$rid=2 ",
			[]string{`"status":"assigned"`, operation[1]}},
		{poll + "operationId=" + operation[1] + "&$rid=3", "", "200/?$rid=3 ", []string{`"status":"assigned"`}},
		{poll + "$rid=4", "", "400/?$rid=4 ", []string{`"errorCode":400004`, "no operationId"}},
		{poll + "$rid=5&operationId=", "", "400/?$rid=5 ", []string{`"errorCode":400004`, "no operationId"}},
		{poll + "$rid=6&operationId=%zz", "", "400/?$rid=6 ", []string{`"errorCode":400004`, "no operationId"}},
		{poll + "$rid=7&operationId=5.another", "", "404/?$rid=7 ", []string{`"trackingId":`}},
		{contract.RegisterTopic + "$rid=1", "", "200/?$rid=1 ",
			[]string{`"status":"assigned"`, `"assignedHub":"hub.local"`, `"deviceId":"pump-1"`,
				`"registrationId":"pump-1"`}},
		{contract.RegisterTopic + "$rid=padded", "{}\x00\x00", "200/?$rid=padded ", []string{`"status":"assigned"`}},
		{contract.RegisterTopic + "$rid=8", "{", "400/?$rid=8 ", []string{`"errorCode":400`, `"timestampUtc":`}},
		{contract.RegisterTopic + "$rid=9", `{"registrationId":"pump-2"}`, "400/?$rid=9 ", []string{`"errorCode":400`}},
	} {
		got := d.ask(c.topic, c.payload)
		if !strings.HasPrefix(got, "$dps/registrations/res/"+c.want) {
			t.Errorf("%s is answered %s, want %s", c.topic, got, c.want)
		}
		for _, part := range c.says {
			if !strings.Contains(got, part) {
				t.Errorf("%s is answered %s, which does not say %s", c.topic, got, part)
			}
		}
	}
}

// A service that paces itself answers that it is assigning, with the time after which to
// ask again, until it has assigned.
func TestPacedRegistration(t *testing.T) {
	r := newRegistering(t, func(config *provisioning.Config) { config.Pace = provisioning.Paced })
	d := r.subscribed("pump-1", r.key)
	answer := d.ask(contract.RegisterTopic+"$rid=1", "")
	operation := operationID.FindStringSubmatch(answer)
	if operation == nil || !strings.HasPrefix(answer, "$dps/registrations/res/202/?$rid=1&retry-after=3 ") ||
		!strings.Contains(answer, `"status":"assigning"`) {
		t.Fatalf("registering is answered %s", answer)
	}
	for deadline := time.Now().Add(20 * time.Second); strings.Contains(answer, "/res/202/"); {
		if time.Now().After(deadline) {
			t.Fatalf("it is not assigned: %s", answer)
		}
		answer = d.ask(contract.RegistrationStatusTopic+"$rid=2&operationId="+operation[1], "")
	}
	if !strings.HasPrefix(answer, "$dps/registrations/res/200/?$rid=2 ") ||
		!strings.Contains(answer, `"status":"assigned"`) {
		t.Errorf("it ends with %s", answer)
	}
}

// A device that is not let in is told so by the answer to its registration, and nothing of
// what is enrolled: CONNECT is accepted whatever its token is.
func TestRefusedRegistrations(t *testing.T) {
	r := newRegistering(t)
	other := strings.Repeat("A", 43) + "="
	var said []string
	for _, c := range []struct{ id, key, check string }{
		{"pump-1", other, "token signature"},
		{"nobody", other, "enrollment"},
	} {
		d := r.subscribed(c.id, c.key)
		got := d.ask(contract.RegisterTopic+"$rid=1", "")
		if !strings.HasPrefix(got, "$dps/registrations/res/401/?$rid=1 ") ||
			!strings.Contains(got, `"errorCode":401002`) {
			t.Errorf("%s is answered %s", c.id, got)
		}
		var body struct{ Message string }
		_, payload, _ := strings.Cut(got, " ")
		if err := json.Unmarshal([]byte(payload), &body); err != nil {
			t.Errorf("%s is answered %s: %v", c.id, payload, err)
		}
		said = append(said, body.Message)
		if check, code := r.attempt(c.id); check != c.check || code != 401002 {
			t.Errorf("the attempt of %s failed at %q with %d", c.id, check, code)
		}
	}
	if said[0] == "" || said[0] != said[1] {
		t.Errorf("a wrong key is answered %q, an id that is not enrolled %q", said[0], said[1])
	}
}

// What is injected is on the wire as it would be in earnest: a status, a time to wait in
// the topic, or no answer at all.
func TestInjectedFaultsOnTheWire(t *testing.T) {
	r := newRegistering(t)
	for _, c := range []struct {
		fault inject.Fault
		want  string
	}{
		{inject.Fault{Kind: inject.Fail}, "500/?$rid=1 "},
		{inject.Fault{Kind: inject.Throttle, Seconds: 7}, "429/?$rid=1&retry-after=7 "},
		{inject.Fault{Kind: inject.WrongHub, HubHostName: "other.local"}, "200/?$rid=1 "},
	} {
		c.fault.Times = 1
		if _, err := r.dps.Injector().Add(t.Context(), c.fault); err != nil {
			t.Fatal(err)
		}
		got := r.subscribed("pump-1", r.key).ask(contract.RegisterTopic+"$rid=1", "")
		if !strings.HasPrefix(got, "$dps/registrations/res/"+c.want) || !strings.Contains(got, c.fault.HubHostName) {
			t.Errorf("%+v is answered %s", c.fault, got)
		}
	}
	if _, err := r.dps.Injector().Add(t.Context(), inject.Fault{Kind: inject.Drop, Times: 1}); err != nil {
		t.Fatal(err)
	}
	d := r.subscribed("pump-1", r.key)
	if err := d.Publish(contract.RegisterTopic+"$rid=1", nil, 1, nil); err != nil {
		t.Fatal(err)
	}
	d.ends("a connection that is to be dropped")
	if len(d.messages) > 0 {
		t.Errorf("it is answered %+v", <-d.messages)
	}
}

// ends waits until the server has closed the connection.
func (d *device) ends(what string) {
	d.t.Helper()
	select {
	case <-d.Ended():
	case <-time.After(20 * time.Second):
		d.t.Fatalf("%s does not end", what)
	}
}

// A device that publishes what it may not is disconnected, and the attempt says why.
func TestBrokenRegistrations(t *testing.T) {
	r := newRegistering(t)
	for name, topic := range map[string]string{
		"another topic":          "$dps/registrations/POST/iotdps-register/?$rid=1",
		"telemetry":              "devices/pump-1/messages/events/",
		"no $rid":                contract.RegisterTopic + "rid=1",
		"no parameters":          contract.RegisterTopic,
		"a long $rid":            contract.RegisterTopic + "$rid=" + strings.Repeat("1", maxRequestID+1),
		"a poll without a $rid":  contract.RegistrationStatusTopic + "operationId=1",
		"a topic of twins":       contract.TwinTopic + "$rid=1",
		"a prefix of the topics": "$dps/registrations/",
	} {
		d := r.subscribed("pump-1", r.key)
		if err := d.Publish(topic, nil, 1, nil); err != nil {
			t.Fatal(err)
		}
		d.ends(name)
		if len(d.messages) > 0 {
			t.Errorf("%s is answered %+v", name, <-d.messages)
		}
	}
	if check, code := r.attempt("pump-1"); check != "protocol" || code/1000 != 400 {
		t.Errorf("the attempt failed at %q with %d", check, code)
	}
	longest := contract.RegisterTopic + "$rid=" + strings.Repeat("1", maxRequestID)
	if got := r.subscribed("pump-1", r.key).ask(longest, ""); !strings.HasPrefix(got, "$dps/registrations/res/200/") {
		t.Errorf("the longest $rid is answered %s", got)
	}
}

// Only topics on which a device of the provisioning service is answered can be subscribed
// to. Who has not subscribed, or no longer, is served and not answered.
func TestSubscriptionsOfRegistrations(t *testing.T) {
	r := newRegistering(t)
	answers := contract.RegistrationAnswers.Filter()
	d := r.dial("pump-1", r.key)
	if err := d.send(contract.RegisterTopic+"$rid=unheard", ""); err != nil {
		t.Fatal(err)
	}
	codes, err := d.Subscribe(t.Context(), mqtt.Subscription{Filter: "$iothub/twin/res/#", QoS: 1},
		mqtt.Subscription{Filter: answers, QoS: 2}, mqtt.Subscription{Filter: "#"},
		mqtt.Subscription{Filter: "$dps/registrations/res/+/+"})
	if err != nil || fmt.Sprint(codes) != "[128 1 128 0]" {
		t.Fatalf("granted %v, error %v", codes, err)
	}
	if got := d.ask(contract.RegisterTopic+"$rid=heard", ""); !strings.Contains(got, "$rid=heard ") {
		t.Errorf("the first answer is %s", got)
	}
	d.Disconnect()

	token, err := credential.NewToken(testScope+"/registrations/pump-1", "registration", r.key,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	p := r.dialPackets("pump-1", testScope+"/registrations/pump-1/api-version=2019-03-31", token)
	if p.present {
		t.Error("a session of the provisioning service was kept")
	}
	p.send(0x82, []byte{0, 1}, text(answers), []byte{1}) // SUBSCRIBE
	p.send(0x32, text(contract.RegisterTopic+"$rid=1"), []byte{0, 2})
	if _, _, m := p.answer(); m.topic != "$dps/registrations/res/200/?$rid=1" {
		t.Errorf("registering is answered on %s", m.topic)
	}
	p.send(0xa2, []byte{0, 3}, text(answers), text("never/subscribed")) // UNSUBSCRIBE
	if first, body := p.read(); first != 0xb0 || string(body) != "\x00\x03" {
		t.Errorf("UNSUBSCRIBE is answered % x % x", first, body)
	}
	p.send(0x32, text(contract.RegisterTopic+"$rid=2"), []byte{0, 4})
	if first, body := p.read(); first != 0x40 || string(body) != "\x00\x04" {
		t.Errorf("PUBLISH is answered % x % x", first, body)
	}
	p.nothing()
}

// CONNECT is refused where the user name, the client id and the token do not belong together;
// only a device that registers is judged later.
func TestRefusedConnections(t *testing.T) {
	r := newRegistering(t)
	known := r.connect("d1", true)
	known.Disconnect()
	created, err := r.Device(t.Context(), "d1")
	if err != nil {
		t.Fatal(err)
	}
	token, err := credential.NewToken("hub.local/devices/d1", "", *created.Authentication.SymmetricKey.PrimaryKey,
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	const version = "/?api-version=2021-04-12"
	for _, c := range []struct {
		name, clientID, username, token string
		want                            mqtt.ConnectCode
	}{
		{"the device itself", "d1", "hub.local/d1" + version, token, mqtt.Accepted},
		{"with a port", "d1", "hub.local:8883/d1" + version, token, mqtt.Accepted},
		{"only a host", "d1", "hub.local", token, mqtt.NotAuthorized},
		{"another hub", "d1", "other.local/d1" + version, token, mqtt.NotAuthorized},
		{"another client id", "d2", "hub.local/d1" + version, token, mqtt.NotAuthorized},
		{"a module", "d1/m1", "hub.local/d1/m1" + version, token, mqtt.NotAuthorized},
		{"another's token", "d2", "hub.local/d2" + version, token, mqtt.NotAuthorized},
		{"no token", "d1", "hub.local/d1" + version, "", mqtt.NotAuthorized},
		{"another registration id", "pump-2", testScope + "/registrations/pump-1/api-version=2019-03-31", "",
			mqtt.NotAuthorized},
		{"a registration id in capitals", "PUMP-1", testScope + "/registrations/pump-1/api-version=2019-03-31", "",
			mqtt.Accepted},
	} {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		connect := &mqtt.Connect{ClientID: c.clientID, Username: c.username, Password: []byte(c.token),
			HasPassword: true, CleanSession: true}
		client, _, err := mqtt.NewClient(t.Context(), conn, connect, func(string, []byte) {})
		got := mqtt.Accepted
		var refused *mqtt.RefusedError
		switch {
		case errors.As(err, &refused):
			got = refused.Code
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		default:
			client.Abort()
		}
		if got != c.want {
			t.Errorf("%s is answered %d, want %d", c.name, got, c.want)
		}
	}
}
