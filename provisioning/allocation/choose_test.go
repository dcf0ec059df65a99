package allocation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/store/memory"
)

// webhook answers as the test says, and remembers how often it was called.
type webhook struct {
	status int
	answer string
	err    error
	calls  int
	body   string
}

func (w *webhook) Call(_ context.Context, _ string, body []byte, _ int) (int, []byte, error) {
	w.calls, w.body = w.calls+1, string(body)
	return w.status, []byte(w.answer), w.err
}

// takingHub is a hub of this process that takes every twin but one with bad tags.
type takingHub struct {
	linkedhub.Hub
	host string
}

func (h takingHub) Host() string { return h.host }

func (h takingHub) Check(a linkedhub.Admission) error {
	if strings.Contains(string(a.Twin.Tags), "bad") {
		return fault.New(fault.ArgumentInvalid, "the tags are bad")
	}
	return nil
}

// newAllocator chooses among the hubs near.local in lyon, far.local in oslo, and
// apart.local, to which devices go only when it is named.
func newAllocator(t *testing.T, asked Webhook) *Allocator {
	t.Helper()
	documents := memory.New().Open()
	links := linkedhub.New(linkedhub.Config{Documents: documents, Logger: slog.New(slog.DiscardHandler),
		Hubs: []linkedhub.Hub{takingHub{host: "near.local"}, takingHub{host: "far.local"},
			takingHub{host: "apart.local"}},
		AssignedTo: func(context.Context, string) (int, error) { return 0, nil }})
	if err := links.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	never := false
	for _, link := range []linkedhub.Link{{HostName: "near.local", Location: "Lyon"},
		{HostName: "far.local", Location: "Oslo"}, {HostName: "apart.local", ApplyAllocationPolicy: &never}} {
		if _, err := links.Put(t.Context(), link, ""); err != nil {
			t.Fatal(err)
		}
	}
	return New(Config{Links: links, Webhook: asked,
		Networks: NewNetworks(documents, nil, slog.New(slog.DiscardHandler))})
}

// body is what the web service is sent.
func body(_ context.Context, hosts []string) ([]byte, error) { return []byte(fmt.Sprint(hosts)), nil }

// A hub is chosen by the policy among those that the enrollment allows, and the reason is
// told with the candidates.
func TestChoose(t *testing.T) {
	a := newAllocator(t, &webhook{status: 200, answer: `{"iotHubHostName":"FAR.local","payload":{"n":1}}`})
	for _, network := range []Network{{Prefix: "192.0.2.0/24", Latencies: map[string]float64{"LYON": 5, "oslo": 40}},
		{Prefix: "192.0.2.128/25", Latencies: map[string]float64{"oslo": 2}}} {
		if _, err := a.config.Networks.Put(t.Context(), network, ""); err != nil {
			t.Fatal(err)
		}
	}
	custom := &CustomDefinition{WebhookURL: "https://hook.example/"}
	for _, c := range []struct {
		name       string
		request    Request
		hub        string // "" for none
		candidates int
		reason     string
	}{
		{"static", Request{Settings: Settings{Policy: Static, HubHostName: "APART.local"}}, "apart.local", 1,
			"static, of 1"},
		{"static in the list", Request{Settings: Settings{Policy: Static, Hubs: []string{"far.local"}}}, "far.local", 1,
			"static"},
		{"static without a hub", Request{Settings: Settings{Policy: Static}}, "", 0, "names no hub"},
		{"hashed among one", Request{Settings: Settings{Policy: Hashed, Hubs: []string{"near.local"}}}, "near.local", 1,
			"evenly weighted, of 1"},
		{"not linked", Request{Settings: Settings{Policy: Hashed, Hubs: []string{"gone.local"}}}, "", 0, "of 0"},
		{"kept",
			Request{Settings: Settings{Policy: Static, HubHostName: "far.local"}, AssignedHub: "near.local",
				Keep: true},
			"near.local", 1, "the hub it has"},
		{"near", Request{Settings: Settings{Policy: GeoLatency}, RemoteAddr: "192.0.2.7:4711"}, "near.local", 2,
			"lowest latency, 5ms"},
		{"by the narrower network", Request{Settings: Settings{Policy: GeoLatency}, RemoteAddr: "192.0.2.200"},
			"far.local", 2, "lowest latency, 2ms"},
		{"nearly as near", Request{Settings: Settings{Policy: GeoLatency}, RemoteAddr: "192.0.2.200",
			AssignedHub: "near.local"}, "near.local", 2, "the hub it has, at 5ms"},
		{"from nowhere", Request{Settings: Settings{Policy: GeoLatency, Hubs: []string{"far.local"}},
			RemoteAddr: "198.51.100.1"}, "far.local", 1, "nothing is known"},
		{"custom", Request{Settings: Settings{Policy: Custom, Custom: custom}, Body: body}, "far.local", 2,
			"as the webhook says"},
	} {
		c.request.RegistrationID = "pump-1"
		decision, err := a.Choose(t.Context(), c.request)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		host, chosen := "", ""
		if decision.Hub != nil {
			host = decision.Hub.Host()
		}
		for _, candidate := range decision.Candidates {
			if candidate.Chosen {
				chosen = candidate.HostName
			}
		}
		if host != c.hub || len(decision.Candidates) != c.candidates || c.name != "kept" && chosen != c.hub ||
			!strings.Contains(decision.Reason.String(), c.reason) {
			t.Errorf("%s: %q of %+v, %s", c.name, host, decision.Candidates, decision.Reason)
		}
		if (string(decision.Payload) == `{"n":1}`) != (c.request.Policy == Custom) {
			t.Errorf("%s: the payload is %s", c.name, decision.Payload)
		}
	}
}

// Settings are held against the linked hubs and their policy when they are written.
func TestCheck(t *testing.T) {
	a := newAllocator(t, nil)
	hook := func(address string) *CustomDefinition { return &CustomDefinition{WebhookURL: address} }
	prior := &Settings{Hubs: []string{"gone.local"}}
	for _, c := range []struct {
		settings Settings
		prior    *Settings
		says     string // "" for settings that can be written
	}{
		{Settings{}, nil, ""},
		{Settings{Policy: "GEOLATENCY", Hubs: []string{"NEAR.local"}}, nil, ""},
		{Settings{Policy: Static}, nil, ""},
		{Settings{Hubs: []string{"gone.local"}}, prior, ""},
		{Settings{Hubs: []string{"gone.local"}}, nil, "is not linked"},
		{Settings{HubHostName: "gone.local"}, &Settings{}, "is not linked"},
		{Settings{HubHostName: "near.local", Hubs: []string{"far.local"}}, nil, "not among iotHubs"},
		{Settings{Policy: "nearest"}, nil, "allocationPolicy"},
		{Settings{Policy: Static, Hubs: []string{"near.local", "far.local"}}, nil, "takes one hub"},
		{Settings{Hubs: []string{""}}, nil, "iotHubs has an entry that is empty"},
		{Settings{Hubs: []string{"near.local", ""}}, &Settings{Hubs: []string{""}}, "an entry that is empty"},
		{Settings{Policy: Custom, Custom: hook("https://hook.example:99999/secret")}, nil, "has the port 99999"},
		{Settings{Policy: Custom, Custom: hook("https://hook.example:0/secret")}, nil, "has the port 0"},
		{Settings{Policy: Custom, Custom: hook("https://hook.example:65535/")}, nil, ""},
		{Settings{Policy: Custom, Custom: hook("https://hook.example:/")}, nil, ""},
		{Settings{Policy: Custom}, nil, "needs customAllocationDefinition"},
		{Settings{Policy: Custom, Custom: hook("://")}, nil, "must be an address"},
		{Settings{Policy: Custom, Custom: hook("http://hook.example/?code=secret")}, nil, "is not https"},
		{Settings{Policy: Custom, Custom: hook("https://hook.example/")}, nil, ""},
		{Settings{Policy: Custom, Custom: hook("http://localhost:7071/")}, nil, ""},
		{Settings{Policy: Custom, Custom: hook("http://[::1]:7071/")}, nil, ""},
	} {
		err := a.Check(&c.settings, c.prior)
		if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, fault.ArgumentInvalid) ||
			!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%+v: %v", c.settings, err)
		}
	}
	one := Settings{Policy: Custom, Custom: hook("https://hook.example/")}
	if other := one; !one.Equal(other) || one.Equal(Settings{Policy: Custom, Custom: hook("https://other.example/")}) {
		t.Error("settings are compared wrongly")
	}
	if version := hook("https://hook.example/").WithVersion().APIVersion; version != "2021-10-01" {
		t.Errorf("the version is %s", version)
	}
	if (*CustomDefinition)(nil).WithVersion() != nil {
		t.Error("no definition has a version")
	}
}

// What a web service does wrong is told to who may configure the service; a device learns
// the same whatever it was that can't be used.
func TestWebhooksThatCannotBeUsed(t *testing.T) {
	refused := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	twin := func(text string) string { return `{"iotHubHostName":"near.local","initialTwin":` + text + `}` }
	for _, c := range []struct {
		webhook webhook
		detail  string
		calls   int
	}{
		{webhook{status: 404}, "status 404", 1},
		{webhook{status: 302}, "redirects, with the status 302", 1},
		{webhook{status: 403}, "refused the service", 1},
		{webhook{status: 418}, "answered with the status 418", 1},
		{webhook{status: 500}, "status 500", 3},
		{webhook{status: 200, answer: "{"}, "not JSON: it breaks at byte", 1},
		{webhook{status: 200, answer: "[]"}, "not the JSON of an allocation", 1},
		{webhook{status: 200, answer: `{"iotHubHostName":7}`}, "iotHubHostName must be a string, not a number", 1},
		{webhook{status: 200, answer: "{\"iotHubHostName\":\"\xff\"}"}, "can't be taken", 1},
		{webhook{status: 200, answer: strings.Repeat("[", 1000)}, "can't be taken", 1},
		{webhook{status: 200, answer: strings.Repeat(" ", maxWebhookAnswer+1)}, "more than 262144 bytes", 1},
		{webhook{status: 200, answer: `{"iotHubHostName":"near.local","payload":"` + strings.Repeat("x", maxPayload) +
			`"}`},
			"payload has", 1},
		{webhook{status: 200, answer: `{"payload":null}`}, "names no hub", 1},
		{webhook{status: 200, answer: `{"iotHubHostName":"apart.local"}`}, "not one of the enrollment's", 1},
		{webhook{status: 200, answer: `{"iotHubHostName":"gone.local"}`}, "not linked", 1},
		{webhook{status: 200, answer: `{"iotHubHostName":"near.local","initialTwin":{"tags":[]}}`},
			"must be a JSON object", 1},
		{webhook{status: 200, answer: `{"iotHubHostName":"near.local","initialTwin":{"tags":{"bad":1}}}`},
			"tags are bad", 1},
		{webhook{status: 200, answer: twin(`[]`)}, "initialTwin must be an object, not an array", 1},
		{webhook{status: 200, answer: twin(`{"properties":{"desired":7}}`)}, "must be a JSON object", 1},
		{webhook{status: 200, answer: twin(`{"properties":{"reported":{"a":1}}}`)},
			"initialTwin.properties.reported is for the device to write", 1},
		{webhook{status: 200, answer: twin(`{"desired":{"a":1}}`)}, "initialTwin has desired beside tags", 1},
		{webhook{status: 200, answer: twin(`{"tags":{},"Reported":{"a":1}}`)}, "initialTwin has reported beside tags",
			1},
		{webhook{status: 200, answer: twin(`{"tag":{"a":1}}`)}, `initialTwin has "tag", which is unknown`, 1},
		{webhook{status: 200, answer: twin(`{"properties":{"desire":1}}`)},
			`initialTwin.properties has "desire", which is unknown`, 1},
		{webhook{err: refused}, "authority that this server does not trust", 1},
		{webhook{err: &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}}}},
			"is for another host", 1},
		{webhook{err: &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}},
			"has expired", 1},
		{webhook{err: &tls.CertificateVerificationError{Err: errors.New("other")}}, "certificate is not valid", 1},
	} {
		decision, err := newAllocator(t, &c.webhook).Choose(t.Context(), Request{RegistrationID: "pump-1", Body: body,
			Settings: Settings{Policy: Custom,
				Custom: &CustomDefinition{WebhookURL: "https://hook.example/?code=secret"}}})
		var failure attest.Failure
		if !errors.As(err, &failure) || failure.Check != "allocation" || failure.Advice.IsZero() {
			t.Errorf("%q: %+v, error %v", c.detail, decision, err)
			continue
		}
		said := fault.From(failure.Err).Message
		if failure.Detail != nil {
			if strings.Contains(said, c.detail) {
				t.Errorf("%q: the device is told", c.detail)
			}
			said = failure.Detail.Error()
		}
		if !strings.Contains(said, c.detail) || strings.Contains(said, "secret") || c.webhook.calls != c.calls {
			t.Errorf("%q: after %d calls %s", c.detail, c.webhook.calls, said)
		}
		if c.webhook.body != "[near.local far.local]" && c.webhook.body != "[far.local near.local]" {
			t.Errorf("%q: it is sent %s", c.detail, c.webhook.body)
		}
	}
}

// TestAdviceOnPayloads has the advice of what is wrong with a webhook's payload.
func TestAdviceOnPayloads(t *testing.T) {
	for payload, words := range map[string]string{"1e400": "numbers that fit into a double", `"\ud800"`: "in UTF-8",
		strings.Repeat("[", 40) + strings.Repeat("]", 40): "fewer levels"} {
		hook := &webhook{status: 200, answer: `{"iotHubHostName":"near.local","payload":` + payload + "}"}
		_, err := newAllocator(t, hook).Choose(t.Context(), Request{RegistrationID: "pump-1", Body: body,
			Settings: Settings{Policy: Custom, Custom: &CustomDefinition{WebhookURL: "https://hook.example/"}}})
		var failure attest.Failure
		if !errors.As(err, &failure) || !strings.Contains(failure.Advice.String(), words) {
			t.Errorf("%s: %v, advice %q", payload, err, failure.Advice)
		}
	}
}

// An answer that does not come has its reason, as far as the network tells it.
func TestUnansweredWebhooks(t *testing.T) {
	for _, c := range []struct {
		status int
		err    error
		says   string
	}{
		{0, context.DeadlineExceeded, "did not answer within 5 seconds"},
		{200, context.DeadlineExceeded, "began to answer with the status 200"},
		{200, errors.New("unexpected EOF"), "broke off its answer"},
		{0, tls.RecordHeaderError{}, "does not speak TLS"},
		{0, &net.DNSError{}, "host of the allocation webhook is not found"},
		{0, syscall.ECONNREFUSED, "the connection is refused"},
		{0, errors.New("other"), "did not answer"},
	} {
		var failure attest.Failure
		if err := unanswered("https://hook.example/?code=secret", c.status, c.err); !errors.As(err, &failure) ||
			!strings.Contains(failure.Detail.Error(), c.says) || failure.Expected.String() !=
			"an answer of the webhook at hook.example" {
			t.Errorf("%v: %+v", c.err, failure)
		}
	}
}

// Networks are written in one way, and stay until they are deleted.
func TestNetworks(t *testing.T) {
	networks := newAllocator(t, nil).config.Networks
	latencies := map[string]float64{"Lyon": 5}
	first, err := networks.Put(t.Context(), Network{Prefix: "10.1.2.3/16", Latencies: latencies}, "")
	if err != nil || first.Prefix != "10.1.0.0/16" || first.Latencies["lyon"] != 5 {
		t.Fatalf("the network is %+v, error %v", first, err)
	}
	second, err := networks.Put(t.Context(), Network{Prefix: "10.1.0.0/16", Latencies: map[string]float64{"oslo": 1}},
		first.ETag)
	if err != nil || second.ETag == first.ETag {
		t.Errorf("the network is %+v, error %v", second, err)
	}
	if _, err := networks.Put(t.Context(), Network{Prefix: "10.1.2.0/24", Latencies: latencies}, ""); err != nil {
		t.Fatal(err)
	}
	if all := networks.List(); len(all) != 2 || all[0].Prefix != "10.1.2.0/24" || all[1].ETag != second.ETag {
		t.Errorf("the networks are %+v", all)
	}
	for _, c := range []struct {
		network Network
		ifMatch string
		want    fault.Code
	}{
		{Network{Prefix: "nowhere", Latencies: latencies}, "", fault.ArgumentInvalid},
		{Network{Prefix: "::ffff:10.0.0.0/104", Latencies: latencies}, "", fault.ArgumentInvalid},
		{Network{Prefix: "10.2.0.0/16"}, "", fault.ArgumentInvalid},
		{Network{Prefix: "10.2.0.0/16", Latencies: map[string]float64{"": 1}}, "", fault.ArgumentInvalid},
		{Network{Prefix: "10.2.0.0/16", Latencies: map[string]float64{"lyon": -1}}, "", fault.ArgumentInvalid},
		{Network{Prefix: "10.2.0.0/16", Latencies: map[string]float64{"lyon": 1, "Lyon": 2}}, "",
			fault.ArgumentInvalid},
		{Network{Prefix: "10.1.0.0/16", Latencies: latencies}, first.ETag, fault.PreconditionFailed},
		{Network{Prefix: "10.2.0.0/16", Latencies: latencies}, "*", fault.PreconditionFailed},
	} {
		if _, err := networks.Put(t.Context(), c.network, c.ifMatch); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.network, err)
		}
	}
	if err := networks.Delete(t.Context(), "10.1.7.7/16", ""); err != nil {
		t.Error(err)
	}
	if err := networks.Delete(t.Context(), "10.1.0.0/16", ""); !errors.Is(err, fault.NotFound) {
		t.Errorf("deleted again: %v", err)
	}
}
