package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/inject"
)

// newFaultyFixture is a server that obeys the messages by which devices ask for faults.
func newFaultyFixture(t *testing.T) *fixture {
	h := newFixture(t)
	h.stop()
	h.config.FaultInjection = true
	h.start()
	return h
}

// send publishes and waits for the acknowledgement, or for the end of the connection.
func (d *device) send(topic string) error {
	d.t.Helper()
	done := make(chan error, 1)
	if err := d.Publish(topic, nil, 1, func(err error) { done <- err }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		d.t.Fatal("the message was neither acknowledged nor refused")
		return nil
	}
}

const faultTopic = "devices/x/messages/events/AzIoTHub_FaultOperationCloseReason=boom&AzIoTHub_FaultOperationType="

// TestFaultsOfDevice has a device ask for the end of its connection: it gets a reset, no
// acknowledgement, and is refused for as long as it said; or an orderly end.
func TestFaultsOfDevice(t *testing.T) {
	h := newFaultyFixture(t)
	keys := validKeys(t, "x")
	h.enroll(keys)
	h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, `{}`)
	for _, c := range []struct {
		kind  string
		reset bool
	}{{"ShutDownMqtt", false}, {"KillTcp", true}} {
		d := h.berth(&keys, "x")
		err := d.send(faultTopic + c.kind + "&AzIoTHub_FaultOperationDurationInSecs=600")
		if err == nil {
			t.Errorf("%s: the message was acknowledged", c.kind)
		}
		if reset := errors.Is(err, syscall.ECONNRESET); reset != c.reset {
			t.Errorf("%s: the device gets %v", c.kind, err)
		}
	}
	if _, err := h.connect(&keys, "x", "127.0.0.1/x/?api-version=2021-04-12"); err == nil {
		t.Error("the device was let in though it has asked to be refused")
	}
	history, err := h.hub.Device(t.Context(), "x")
	if err != nil || history.ConnectionState != "Disconnected" {
		t.Errorf("the device is %s, error %v", history.ConnectionState, err)
	}
}

// TestFaultsOfOperator injects faults into what a device does by MQTT.
func TestFaultsOfOperator(t *testing.T) {
	h := newFixture(t)
	keys := validKeys(t, "x")
	h.enroll(keys)
	h.provision(&keys, h.Info().IDScope, "x").ask(registerTopic, `{}`)
	add := func(kind inject.Kind, seconds int) {
		t.Helper()
		wanted := inject.DeviceFault{DeviceID: "x", Kind: kind, Seconds: seconds}
		if _, err := h.hub.InjectFault(t.Context(), wanted); err != nil {
			t.Fatal(err)
		}
	}
	const events, twin = "devices/x/messages/events/", "$iothub/twin/GET/?$rid=1"
	add(inject.Refuse, 0)
	if _, err := h.connect(&keys, "x", "127.0.0.1/x/?api-version=2021-04-12"); err == nil {
		t.Error("the device was let in, and was to be refused")
	}
	for _, kind := range []inject.Kind{inject.Drop, inject.Fail, inject.Throttle} {
		d := h.berth(&keys, "x")
		d.subscribe("$iothub/twin/res/#")
		add(kind, 0)
		if err := d.send(events); err == nil {
			t.Errorf("%s: the message was acknowledged", kind)
		}
	}
	d := h.berth(&keys, "x")
	d.subscribe("$iothub/twin/res/#")
	add(inject.Fail, 0)
	if got := d.ask(twin, ""); !strings.HasPrefix(got.topic, "$iothub/twin/res/500/") {
		t.Errorf("a request that fails is answered %+v", got)
	}
	add(inject.Throttle, 0)
	if got := d.ask(twin, ""); !strings.HasPrefix(got.topic, "$iothub/twin/res/429/") {
		t.Errorf("a request that is throttled is answered %+v", got)
	}
	add(inject.Delay, 1)
	began := time.Now()
	if err := d.send(events); err != nil || time.Since(began) < time.Second {
		t.Errorf("a delayed message is acknowledged after %v, error %v", time.Since(began), err)
	}
	add(inject.Drop, 0)
	if err := d.Publish(twin, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.Ended():
	case <-time.After(20 * time.Second):
		t.Error("the connection goes on, and was to be dropped")
	}
	if left, err := h.hub.InjectedFaults(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("there are still %+v, %v", left, err)
	}
}

// TestFaultsOverHTTPS has requests refused: as a device asks for, itself and for a while,
// and as an operator does.
func TestFaultsOverHTTPS(t *testing.T) {
	h := newFaultyFixture(t)
	post := func(id, kind string) int {
		t.Helper()
		if _, err := h.hub.Device(t.Context(), id); err != nil {
			if _, err := h.hub.CreateDevice(t.Context(), identity.Device{DeviceID: id}); err != nil {
				t.Fatal(err)
			}
		}
		device, err := h.hub.Device(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		token, err := credential.NewToken("127.0.0.1/devices/"+id, "", *device.Authentication.SymmetricKey.PrimaryKey,
			time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), "POST", fmt.Sprintf(
			"https://127.0.0.1:%d/devices/%s/messages/events?api-version=2021-04-12", h.Info().Ports.HTTPS, id),
			strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", token)
		if kind != "" {
			request.Header["iothub-app-AzIoTHub_FaultOperationType"] = []string{kind}
			request.Header["iothub-app-AzIoTHub_FaultOperationDurationInSecs"] = []string{"600"}
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots}}}
		defer client.CloseIdleConnections()
		answer, err := client.Do(request)
		if err != nil {
			return 0
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	for kind, want := range map[string]int{"InvokeThrottling": 429, "InvokeMaxMessageQuota": 403, "InvokeAuthError": 401} {
		if got := post(kind, kind); got != want {
			t.Errorf("%s is answered %d, want %d", kind, got, want)
		}
		h.stop() // it lasts
		h.start()
		if got := post(kind, ""); got != want {
			t.Errorf("after %s a message is answered %d, want %d", kind, got, want)
		}
		if got := post("another", ""); got != 204 {
			t.Errorf("%s of one device: another is answered %d", kind, got)
		}
	}
	for kind, want := range map[inject.Kind]int{inject.Fail: 500, inject.Throttle: 429, inject.Refuse: 400, inject.Drop: 0} {
		if _, err := h.hub.InjectFault(t.Context(), inject.DeviceFault{Kind: kind}); err != nil {
			t.Fatal(err)
		}
		if got, next := post("another", ""), post("another", ""); got != want || next != 204 {
			t.Errorf("%s: answered %d and then %d, want %d and 204", kind, got, next, want)
		}
	}
}
