package mqtt

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/wire/mqtt"
)

// Filters match topics as MQTT says (4.7).
func TestFilters(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/c", false},
		{"a/b", "a/b/c", false},
		{"a/b/c", "a/b", false},
		{"a/+", "a/b", true},
		{"a/+", "a/", true},
		{"a/+", "a", false},
		{"+", "a", true},
		{"+/+", "/a", true},
		{"+", "/a", false},
		{"a/+/c", "a/b/c", true},
		{"a/+/c", "a/b/d", false},
		{"a/#", "a/b/c", true},
		{"a/#", "a", true},
		{"a/#", "ab", false},
		{"a/b/#", "a", false},
		{"a/+/#", "a/b", true},
		{"#", "a/b", true},
		{"#", "$a/b", false},
		{"+/b", "$a/b", false},
		{"$a/#", "$a/b", true},
		{"$a/+", "$a/b", true},
		{"A", "a", false},
	} {
		if got := matches(c.filter, c.topic); got != c.want {
			t.Errorf("%q matches %q: %v", c.filter, c.topic, got)
		}
	}
}

// A filter is granted when it matches something that the device may be sent, in
// whatever form; what it matches besides never comes.
func TestGrantedFilters(t *testing.T) {
	device := (&hubSession{deviceID: "d1"}).topicForms()
	odd := (&hubSession{deviceID: "d?1"}).topicForms()
	for _, c := range []struct {
		filter string
		forms  []string
		want   bool
	}{
		{"devices/d1/messages/devicebound/#", device, true},
		{"devices/+/messages/devicebound/#", device, true}, // Azure's SDK for Embedded C
		{"devices/d1/messages/devicebound/+", device, true},
		{"devices/d1/#", device, true},
		{"devices/#", device, true},
		{"+/+/messages/#", device, true},
		{"#", device, true},
		{"devices/d1/messages/devicebound", device, false}, // the slash always follows
		{"devices/d1/messages/events/#", device, false},
		{"devices/d2/messages/devicebound/#", device, false},
		{"devices/D1/messages/devicebound/#", device, false},
		{"devices/d1/modules/m1/#", device, false}, // which is another session
		{"devices/d?1/messages/devicebound/#", odd, true},
		{"devices/d%3F1/messages/devicebound/#", odd, true},
		{"devices/d%3f1/messages/devicebound/#", odd, true},
		{"devices/%641/messages/devicebound/#", device, true},
		{"devices/%642/messages/devicebound/#", device, false},
		{"%24iothub/twin/res/#", device, false},
		{"$iothub/twin/res/#", device, true},
		{"$iothub/twin/res/+/#", device, true},
		{"$iothub/twin/res/+/+", device, true},
		{"$iothub/twin/res/200/#", device, true},
		{"$iothub/twin/res/200/?$rid=7", device, true},
		{"$iothub/twin/res/ok/#", device, false},
		{"$iothub/twin/res/200/?$version=7", device, false},
		{"$iothub/twin/#", device, true},
		{"$iothub/#", device, true},
		{"$iothub/+/res/#", device, true},
		{"$iothub/twin/PATCH/properties/desired/#", device, true},
		{"$iothub/twin/PATCH/properties/+/+", device, true},
		{"$iothub/twin/PATCH/properties/reported/#", device, false},
		{"$iothub/methods/POST/#", device, true},
		{"$iothub/methods/POST/reboot/#", device, true},
		{"$iothub/methods/+/reboot/+", device, true},
		{"$iothub/methods/res/#", device, false},
		{"$iothub/credentials/res/#", device, true},
		{"$iothub/other/#", device, false},
		{"+/twin/res/#", device, false},
		{"$dps/registrations/res/#", device, false},
		{"weather/#", device, false},
		{strings.Repeat("+/", maxFilter) + "#", device, false},

		{"$dps/registrations/res/#", provisioningForms, true},
		{"$dps/registrations/res/+/#", provisioningForms, true},
		{"$dps/registrations/res/+/+", provisioningForms, true},
		{"$dps/registrations/res/200/#", provisioningForms, true},
		{"$dps/registrations/+/202/?$rid=1", provisioningForms, true},
		{"$dps/registrations/#", provisioningForms, true},
		{"$dps/#", provisioningForms, true},
		{"$dps/registrations/res", provisioningForms, false},
		{"$dps/registrations/PUT/#", provisioningForms, false},
		{"#", provisioningForms, false},
		{"+/registrations/res/#", provisioningForms, false},
		{"$iothub/twin/res/#", provisioningForms, false},
	} {
		var granted subscriptions
		codes, refused := granted.grant([]mqtt.Subscription{{Filter: c.filter, QoS: 2}}, c.forms)
		got := codes[0] == 1
		if got != c.want || !got && codes[0] != mqtt.Refused || (refused == "") != c.want ||
			(len(granted) == 1) != c.want {
			t.Errorf("%.100q is granted %v, refused %.100q, leaving %.100v", c.filter, codes, refused, granted)
		}
	}
}

// Of filters that overlap a message comes once, with the greatest QoS; a device has no
// more than so many, and one that it has changes its QoS in its place.
func TestOverlappingFilters(t *testing.T) {
	var all subscriptions
	ask := func(filter string, qos byte) byte {
		codes, _ := all.grant([]mqtt.Subscription{{Filter: filter, QoS: qos}}, hubForms)
		return codes[0]
	}
	ask("$iothub/twin/#", 0)
	ask("$iothub/twin/res/200/+", 1)
	for topic, want := range map[string]byte{
		"$iothub/twin/res/200/?$rid=1": 1, "$iothub/twin/res/404/?$rid=1": 0,
		"$iothub/twin/PATCH/properties/desired/?$version=2": 0, "$iothub/methods/POST/reboot/?$rid=1": mqtt.Refused,
	} {
		if got := all.qos(topic); got != want {
			t.Errorf("a message on %s has QoS %d, want %d", topic, got, want)
		}
	}
	ask("$iothub/twin/#", 1)
	if got := fmt.Sprint(all.names()); got != "[1 $iothub/twin/# 1 $iothub/twin/res/200/+]" {
		t.Errorf("kept are %s", got)
	}
	if again := namedSubscriptions(append(all.names(), "", "2 a", "1", "x y")); !slices.Equal(again, all) {
		t.Errorf("%v comes back as %v", all, again)
	}
	for i := len(all); i < connection.MaxSubscriptions; i++ {
		if code := ask(fmt.Sprint("$iothub/twin/res/", i, "/#"), 1); code != 1 {
			t.Fatalf("subscription %d is answered %d", i, code)
		}
	}
	if code := ask("$iothub/#", 1); code != mqtt.Refused {
		t.Errorf("one more is answered %d", code)
	}
	if code := ask("$iothub/twin/#", 0); code != 0 {
		t.Errorf("one that is there is answered %d", code)
	}
}

// What a device gets is what its filters match, on the wire, also when it comes back to
// a kept session.
func TestFiltersOnTheWire(t *testing.T) {
	f := newFixture(t)
	d := f.connect("d1", false)
	codes, err := d.Subscribe(t.Context(), mqtt.Subscription{Filter: "devices/+/messages/devicebound/#", QoS: 1},
		mqtt.Subscription{Filter: "devices/d2/messages/devicebound/#", QoS: 1},
		mqtt.Subscription{Filter: "$iothub/+/res/200/+", QoS: 2})
	if err != nil || fmt.Sprint(codes) != "[1 128 1]" {
		t.Fatalf("granted %v, error %v", codes, err)
	}
	// exchange asks for the twin and for something that is refused, and expects as many
	// of both answers as the filters match.
	exchange := func(d *device, want ...string) {
		t.Helper()
		for topic, payload := range map[string]string{contract.ReportedTopic + "$rid=bad": "[]", contract.TwinTopic +
			"$rid=good": ""} {
			if err := d.Publish(topic, []byte(payload), 1, nil); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for range want {
			got = append(got, d.next().topic)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("answered on %q, want %q", got, want)
		}
		if _, err := d.Subscribe(t.Context(), mqtt.Subscription{Filter: "never", QoS: 1}); err != nil ||
			len(d.messages) > 0 {
			t.Errorf("%d more messages came, error %v", len(d.messages), err)
		}
	}
	exchange(d, "$iothub/twin/res/200/?$rid=good")
	d.Disconnect()
	if d = f.connect("d1", false); !d.present {
		t.Error("the session was not kept")
	}
	exchange(d, "$iothub/twin/res/200/?$rid=good")
	if _, err := d.Subscribe(t.Context(), mqtt.Subscription{Filter: "$iothub/#", QoS: 1}); err != nil {
		t.Fatal(err)
	}
	exchange(d, "$iothub/twin/res/200/?$rid=good", "$iothub/twin/res/400/?$rid=bad")
	if _, err := f.PatchTwin(t.Context(), "d1", json.RawMessage(`{"properties":{"desired":{"n":1}}}`), ""); err != nil {
		t.Fatal(err)
	}
	if told := d.next(); told.topic != "$iothub/twin/PATCH/properties/desired/?$version=2" {
		t.Errorf("the change comes on %s", told.topic)
	}
}

// What a filter matches is granted by the forms that it fits, and no more: a filter
// made of a topic, with some of its levels as wildcards, matches it.
func FuzzFilter(f *testing.F) {
	f.Add("devices/d1/messages/devicebound/a=b", uint8(2), uint8(9))
	f.Add("$iothub/twin/res/200/?$rid=1", uint8(0), uint8(3))
	f.Fuzz(func(t *testing.T, topic string, plus, hash uint8) {
		if topic == "" || strings.ContainsAny(topic, "+#{}=") {
			return
		}
		levels := strings.Split(topic, "/")
		if int(plus) < len(levels) {
			levels[plus] = "+"
		}
		if int(hash) <= len(levels) {
			levels = append(levels[:hash], "#")
		}
		filter := strings.Join(levels, "/")
		want := topic[0] != '$' || filter[0] == '$'
		if filter == "" {
			return
		}
		if matches(filter, topic) != want || canMatch(filter, []string{topic}) != want {
			t.Errorf("%q matches %q: %v, want %v", filter, topic, !want, want)
		}
	})
}
