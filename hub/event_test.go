package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/telemetry"
)

// TestEvents follows all that happens to a device, in the words of Azure.
func TestEvents(t *testing.T) {
	h, ctx := hubtest.New(t), t.Context()
	device := h.Create(identity.Device{DeviceID: "d1"})
	session, _ := h.Connect(device, false)
	if _, err := h.PatchTwin(ctx, "d1", json.RawMessage(
		`{"tags":{"site":"north"},"properties":{"desired":{"a":{"b":1,"c":2},"old":null}}}`), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Report(ctx, []byte(`{"level":1.0,"gone":null}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ReplaceTwin(ctx, "d1", json.RawMessage(`{"properties":{"desired":{"a":1}}}`), ""); err != nil {
		t.Fatal(err)
	}
	session.Close(nil)
	h.Reopen() // writes the activity
	if err := h.DeleteDevice(ctx, "d1", ""); err != nil {
		t.Fatal(err)
	}

	const stamp = `"$lastUpdated":"2026-11-23T12:00:00.0000000Z"`
	want := []struct{ operation, source, body string }{
		{"createDeviceIdentity", "deviceLifecycleEvents", `{"deviceId":"d1","etag":"ETAG","version":1,` +
			`"properties":{"desired":{"$metadata":{` + stamp + `},"$version":1},` +
			`"reported":{"$metadata":{` + stamp + `},"$version":1}}}`},
		{"updateTwin", "twinChangeEvents", `{"version":2,"tags":{"site":"north"},"properties":{"desired":{` +
			`"a":{"b":1,"c":2},"old":null,"$metadata":{` + stamp + `,"$lastUpdatedVersion":2,` +
			`"a":{` + stamp + `,"$lastUpdatedVersion":2,"b":{` + stamp + `,"$lastUpdatedVersion":2},` +
			`"c":{` + stamp + `,"$lastUpdatedVersion":2}}},"$version":2}}}`},
		{"updateTwin", "twinChangeEvents", `{"version":3,"properties":{"reported":{"level":1.0,"gone":null,` +
			`"$metadata":{` + stamp + `,"level":{` + stamp + `}},"$version":2}}}`},
		{"replaceTwin", "twinChangeEvents", `{"deviceId":"d1","etag":"ETAG","version":4,"properties":{"desired":{"a":1,` +
			`"$metadata":{` + stamp + `,"$lastUpdatedVersion":3,"a":{` + stamp + `,"$lastUpdatedVersion":3}},"$version":3},` +
			`"reported":{"level":1.0,"$metadata":{` + stamp + `,"level":{` + stamp + `}},"$version":2}}}`},
		{"deviceConnected", "deviceConnectionStateEvents", "SEQUENCE"},
		{"deviceDisconnected", "deviceConnectionStateEvents", "SEQUENCE"},
		{"deleteDeviceIdentity", "deviceLifecycleEvents", ""},
	}
	events := readEvents(t, h, len(want))
	etag, sequence := regexp.MustCompile(`"etag":"[^"]+"`), regexp.MustCompile(`^{"sequenceNumber":"[0-9A-F]{64}"}$`)
	last := ""
	for i, e := range events {
		w := want[i]
		if e.Properties["opType"] != w.operation || e.SystemProperties["iothub-message-source"] != w.source {
			t.Errorf("event %d is %+v, want %s of %s", i, e, w.operation, w.source)
		}
		body := etag.ReplaceAllString(fmt.Sprintf("%s", e.Body), `"etag":"ETAG"`)
		if sequence.MatchString(body) && body > last {
			body, last = "SEQUENCE", body
		}
		if w.body != "" && body != w.body {
			t.Errorf("event %d, %s: the body is\n%s, want\n%s", i, w.operation, body, w.body)
		}
	}
	first := events[0]
	id := first.SystemProperties["correlation-id"]
	enqueued := first.SystemProperties["iothub-enqueuedtime"]
	wantSystem := map[string]string{"content-type": "application/json", "content-encoding": "utf-8", "user-id": "test",
		"correlation-id": id, "iothub-connection-device-id": "d1", "iothub-enqueuedtime": enqueued,
		"iothub-message-source": "deviceLifecycleEvents"}
	wantApplication := map[string]string{"deviceId": "d1", "hubName": "test", "opType": "createDeviceIdentity",
		"iothub-message-schema": "deviceLifecycleNotification", "operationTimestamp": "2026-11-23T12:00:00.0000000Z"}
	if fmt.Sprint(first.SystemProperties) != fmt.Sprint(wantSystem) || id == "" || enqueued == "" ||
		fmt.Sprint(first.Properties) != fmt.Sprint(wantApplication) {
		t.Errorf("the properties are %v and %v", first.SystemProperties, first.Properties)
	}
	if slices.ContainsFunc(events, func(m telemetry.Message) bool { return m.DeviceID != "d1" }) {
		t.Error("an event is of another device")
	}
}

// readEvents reads so many from the beginning.
func readEvents(t *testing.T, h *hubtest.Hub, n int) (events []telemetry.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := h.Events().Log().Follow(ctx, telemetry.Position{Earliest: true}, "", func(m telemetry.Message) error {
		if events = append(events, m); len(events) == n {
			return telemetry.ErrStop
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%d events came, and %v", len(events), err)
	}
	return events
}
