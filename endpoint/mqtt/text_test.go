package mqtt

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/wire/mqtt"
)

// Clients in C publish the whole of a buffer that holds JSON.
func TestPaddedReports(t *testing.T) {
	f := newFixture(t)
	d := f.twinDevice("d1")
	if got := d.ask(reportTwin, `{"n":1}`+strings.Repeat("\x00", 200)); got != reportTaken+"2" {
		t.Errorf("it is answered %s", got)
	}
	if got := d.ask(getTwin, strings.Repeat("\x00", 200)); got != twinAnswered+
		`{"desired":{"$version":1},"reported":{"n":1,"$version":2}}` {
		t.Errorf("the twin is %s", got)
	}
	for _, bad := range []string{"{\"n\":\x002}", "{\"n\":2}\x00{}", "\x00{\"n\":2}", "\x00\x00"} {
		if got := d.ask(reportTwin, bad); !strings.HasPrefix(got, "$iothub/twin/res/400/") {
			t.Errorf("%q is answered %s", bad, got)
		}
	}
}

// What is no text is refused, and changes nothing.
func TestReportsThatAreNoText(t *testing.T) {
	f := newFixture(t)
	d := f.twinDevice("d1")
	for bad, says := range map[string]string{
		"{\"city\":\"K\xf6ln\"}":   "byte 11 is not UTF-8",
		"{\"K\xf6ln\":1}":          "not UTF-8",
		`{"city":"\ud800"}`:        "half a character",
		`{"\udfff":1}`:             "half a character",
		`{"a":["\ud83d\ud83d"]}`:   "half a character",
		"{\"a\":\"\xed\xa0\x80\"}": "not UTF-8",
	} {
		if got := d.ask(reportTwin, bad); !strings.HasPrefix(got, "$iothub/twin/res/400/") ||
			!strings.Contains(got, says) {
			t.Errorf("%q is answered %s", bad, got)
		}
	}
	if got := d.ask(reportTwin, `{"city":"K\u00f6ln \ud83d\ude00"}`); got != reportTaken+"2" {
		t.Errorf("escapes of whole characters are answered %s", got)
	}
}

// A device whose property bag is not UTF-8 is disconnected: MQTT 3.1.1 has no other
// answer.
func TestBagsThatAreNoText(t *testing.T) {
	f := newFixture(t)
	for _, bag := range []string{"city=K%f6ln", "K%F6ln=1", "%24.mid=%ff", "a=%ed%a0%80"} {
		d := f.connect("d1", true)
		if err := d.Publish("devices/d1/messages/events/"+bag, []byte("x"), 0, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-d.Ended():
		case <-time.After(20 * time.Second):
			t.Fatalf("%s is taken", bag)
		}
		if _, err := f.connectWith("d1", "/?api-version=2021-04-12",
			&mqtt.Will{Topic: "devices/d1/messages/events/" + bag}); err == nil {
			t.Errorf("a will with %s is taken", bag)
		}
	}
	d, err := f.connectWith("d1", "/?api-version=2021-04-12",
		&mqtt.Will{Topic: "devices/d1/messages/events/city=K%C3%B6ln"})
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	if err := d.Publish("devices/d1/messages/events/city=K%C3%B6ln", []byte("x"), 1,
		func(err error) { sent <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Errorf("UTF-8 is answered %v", err)
	}
}
