package linkedhub

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/store/memory"
)

// distantHub is a hub elsewhere, which answers as the test says.
type distantHub struct {
	Hub
	host     string
	err      error         // of each request
	latency  time.Duration // to the hub and back
	measured func()        // is called when that is asked for
}

func (h *distantHub) Host() string { return h.host }

func (h *distantHub) Twin(context.Context, string) (*InitialTwin, error) { return nil, h.err }

func (h *distantHub) Latency(context.Context) (time.Duration, error) {
	defer h.measured()
	return h.latency, h.err
}

// A link that is written must be one that can work: a hub elsewhere is asked with its
// connection string, which is sent nowhere but where its owner sent it.
func TestInvalidLinks(t *testing.T) {
	answers := map[string]error{"good": nil, "refused": fault.New(fault.Unauthorized, "the key is wrong"),
		"silent": errors.New("no route to host")}
	links := newLinks(t, func(link Link) (Hub, error) {
		if link.ConnectionString == "unreadable" {
			return nil, fault.New(fault.ArgumentInvalid, "it can't be read")
		}
		host := link.HostName
		if link.ConnectionString == "of another" {
			host = "another.example"
		}
		return &distantHub{host: host, err: answers[link.ConnectionString]}, nil
	})
	heavy := MaxWeight + 1
	for _, c := range []struct {
		link Link
		says string // "" for a link that is written
	}{
		{Link{HostName: "far.example", ConnectionString: "good", Address: "192.0.2.1:443"}, ""},
		{Link{HostName: "FAR.example"}, ""}, // the connection string stays
		{Link{HostName: "far.example", Address: "192.0.2.2:443"}, "is not sent there"},
		{Link{HostName: "far.example", Address: "192.0.2.1:443", CACertificates: "other"}, "is not sent there"},
		{Link{HostName: "far.example", Address: "192.0.2.2:443", ConnectionString: "good"}, ""},
		{Link{HostName: "new.example"}, "not one of this server"},
		{Link{HostName: "new.example", ConnectionString: "refused"}, "refuses the connection string: the key is wrong"},
		{Link{HostName: "new.example", ConnectionString: "silent"}, "does not answer: no route to host"},
		{Link{HostName: "new.example", ConnectionString: "of another"}, "is of the hub another.example"},
		{Link{HostName: "new.example", ConnectionString: "unreadable"}, "can't be read"},
		{Link{HostName: "a.local", ConnectionString: "good"}, "needs no connection string"},
		{Link{HostName: "a.local", AllocationWeight: &heavy}, "allocationWeight must be from 0 to"},
		{Link{HostName: "a.local", Location: strings.Repeat("x", 65)}, "location has 65 characters"},
		{Link{HostName: "a/b"}, "a/b"},
		{Link{HostName: "a..b", ConnectionString: "good"}, "can't be the host name"},
		{Link{HostName: "-a.test", ConnectionString: "good"}, "can't be the host name"},
		{Link{HostName: strings.Repeat("x", 64) + ".test", ConnectionString: "good"}, "can't be the host name"},
	} {
		if c.says == "" && c.link.Address == "" {
			c.link.Address = "192.0.2.1:443"
		}
		linked, err := links.Put(t.Context(), c.link, "")
		if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, fault.ArgumentInvalid) ||
			!strings.Contains(err.Error(), c.says)) {
			t.Errorf("%+v: %v", c.link, err)
		}
		if linked.ConnectionString != "" {
			t.Errorf("%+v is shown with its secret", c.link)
		}
	}
	var hosts []string
	for _, link := range links.List() {
		hosts = append(hosts, link.HostName)
	}
	if got := strings.Join(hosts, " "); got != "a.local b.local far.example" {
		t.Errorf("linked are %s", got)
	}
}

// A hub elsewhere that does not answer can be given another weight, or be left to
// enrollments that name it: it is asked only where its connection string is given.
func TestLinkOfSilentHub(t *testing.T) {
	var silence error
	links := newLinks(t, func(Link) (Hub, error) { return &distantHub{host: "far.example", err: silence}, nil })
	if _, err := links.Put(t.Context(), Link{HostName: "far.example", ConnectionString: "good"}, ""); err != nil {
		t.Fatal(err)
	}
	silence = errors.New("connection refused")
	weight, applies := 0, false
	for _, link := range []Link{
		{HostName: "far.example", AllocationWeight: &weight},
		{HostName: "FAR.example", ApplyAllocationPolicy: &applies},
		{HostName: "far.example", Location: "westeurope", MeasureLatency: true},
	} {
		if _, err := links.Put(t.Context(), link, ""); err != nil {
			t.Errorf("%+v: %v", link, err)
		}
	}
	for _, link := range []Link{
		{HostName: "far.example", ConnectionString: "good"},
		{HostName: "far.example", ConnectionString: "good", Address: "192.0.2.2:443"},
	} {
		if _, err := links.Put(t.Context(), link, ""); err == nil || !strings.Contains(err.Error(), "does not answer") {
			t.Errorf("%+v with its connection string: %v", link, err)
		}
	}
	if got := links.Find("far.example").Link; got.ConnectionString != "good" || got.Location != "westeurope" {
		t.Errorf("the link is %+v", got)
	}
}

// A hub that still has devices is unlinked by force only.
func TestUnlinking(t *testing.T) {
	links := New(Config{Documents: memory.New().Open(), Hubs: []Hub{&localHub{host: "a.local"}},
		AssignedTo: func(context.Context, string) (int, error) { return 3, nil },
		Logger:     slog.New(slog.DiscardHandler)})
	if err := links.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, ifMatch string
		force         bool
		want          fault.Code // 0 for a link that is ended
	}{
		{"b.local", "", true, fault.NotFound},
		{"a.local", `"another"`, true, fault.PreconditionFailed},
		{"a.local", "", false, fault.Conflict},
		{"A.local", "", true, 0},
		{"a.local", "", true, fault.NotFound},
	} {
		if err := links.Delete(t.Context(), c.host, c.ifMatch, c.force); c.want == 0 && err != nil ||
			c.want != 0 && !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := links.Get("a.local"); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "none") {
		t.Errorf("the hub that was unlinked: %v", err)
	}
}

// The latency of a hub elsewhere is measured where its link asks for that, and not known
// while the hub does not answer.
func TestLatencies(t *testing.T) {
	hub := &distantHub{host: "far.example", latency: 1500 * time.Microsecond}
	links := New(Config{Documents: memory.New().Open(), Reach: func(Link) (Hub, error) { return hub, nil },
		AssignedTo: func(context.Context, string) (int, error) { return 0, nil },
		Panics:     panics.NewRecorder(slog.New(slog.DiscardHandler)), Logger: slog.New(slog.DiscardHandler)})
	if err := links.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := links.Put(t.Context(), Link{HostName: "far.example", ConnectionString: "good", MeasureLatency: true},
		""); err != nil {
		t.Fatal(err)
	}
	measure := func() {
		stop := make(chan struct{})
		hub.measured = func() { close(stop) }
		links.MeasureLatencies(t.Context(), stop)
	}
	measure()
	link, err := links.Get("far.example")
	if err != nil || link.LatencyMillis == nil || *link.LatencyMillis != 2 ||
		links.Find("far.example").Latency() != hub.latency || link.Hub != "far" {
		t.Errorf("the link is %+v, error %v", link, err)
	}
	hub.err = errors.New("no route to host")
	measure()
	if got := links.Find("far.example").Latency(); got != 0 {
		t.Errorf("without an answer the latency is %v", got)
	}
}

// The parts of an initial twin are objects, or not there, and no deeper than what holds
// them may be.
func TestInitialTwins(t *testing.T) {
	deep := strings.Repeat(`{"a":`, document.MaxFreeDepth+1) + "1" + strings.Repeat("}", document.MaxFreeDepth+1)
	for _, c := range []struct{ tags, desired, says string }{
		{`{"floor":1}`, `{"n":2}`, ""},
		{"", " null ", ""},
		{"[]", "", "initialTwin.tags must be a JSON object"},
		{"", `"x"`, "initialTwin.properties.desired must be a JSON object"},
		{deep, "", "initialTwin.tags is nested deeper"},
		{"", `{"n":`, "initialTwin.properties.desired is not JSON"},
		{"{\"K\xf6ln\":1}", "", "initialTwin.tags"},
	} {
		twin := InitialTwin{Tags: json.RawMessage(c.tags)}
		twin.Properties.Desired = json.RawMessage(c.desired)
		err := twin.Complete()
		if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, fault.ArgumentInvalid) ||
			!strings.Contains(err.Error(), c.says)) {
			t.Errorf("%q and %q: %v", c.tags, c.desired, err)
		}
		if err == nil && strings.TrimSpace(c.desired) == "null" && twin.Properties.Desired != nil {
			t.Errorf("null becomes %s", twin.Properties.Desired)
		}
		if err == nil && twin.Intact() != nil {
			t.Errorf("%q and %q are stored and not intact: %v", c.tags, c.desired, twin.Intact())
		}
	}
	if err := (*InitialTwin)(nil).Intact(); err != nil {
		t.Errorf("no twin: %v", err)
	}
	if (&InitialTwin{Tags: json.RawMessage(deep)}).Intact() == nil {
		t.Error("a twin that is too deep is intact")
	}
}
