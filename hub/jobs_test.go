package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/job"
)

// awaitJob returns a job once it has ended.
func awaitJob(h *hubtest.Hub, id string) job.Job {
	h.T.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		found, err := h.Jobs().Get(context.Background(), id)
		if err != nil {
			h.T.Fatal(err)
		}
		if found.Status.HasEnded() && found.Statistics.Running == 0 {
			return found
		}
		if time.Now().After(deadline) {
			h.T.Fatalf("the job stays %+v", found)
		}
	}
}

// TestJobUpdatesTwins updates the twins that a condition finds, tells those that are
// connected, and says of each device what became of it.
func TestJobUpdatesTwins(t *testing.T) {
	h, ctx := hubtest.New(t), t.Context()
	connected := h.Create(identity.Device{DeviceID: "a1"})
	for _, id := range []string{"a2", "a3", "b1"} {
		h.Create(identity.Device{DeviceID: id})
	}
	if _, err := h.CreateModule(ctx, identity.Module{DeviceID: "a2", ModuleID: "camera"}); err != nil {
		t.Fatal(err)
	}
	full := `{"tags":{"site":"quay","filler":"` + strings.Repeat("x", 3000) + `"}}`
	for _, id := range []string{"a1", "a2", "a3"} {
		if _, err := h.PatchTwin(ctx, id, json.RawMessage(full), ""); err != nil {
			t.Fatal(err)
		}
	}
	_, down := h.Connect(connected, false)
	create := func(id, condition, patch string) {
		t.Helper()
		if _, err := h.CreateJob(ctx, job.Specification{ID: id, Kind: job.UpdateTwin, Condition: condition,
			Twin: json.RawMessage(patch)}); err != nil {
			t.Fatal(err)
		}
	}
	create("j1", "tags.site = 'quay' AND deviceId IN ['a1', 'a3', 'b1']",
		`{"etag":"*","tags":{"filler":null},"properties":{"desired":{"interval":5}}}`)
	if done := awaitJob(h, "j1"); done.Status != job.Completed ||
		done.Statistics != (job.Statistics{Devices: 2, Succeeded: 2}) {
		t.Errorf("it is %+v", done)
	}
	for id, want := range map[string]string{"a1": `{"interval":5}`, "a2": "{}", "a3": `{"interval":5}`, "b1": "{}"} {
		twin, err := h.Twin(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		twin.Properties.Desired.Delete("$metadata", "$version")
		if got := twin.Properties.Desired.String(); got != want {
			t.Errorf("the desired properties of %s are %s, want %s", id, got, want)
		}
	}
	if told := down.Notices(); len(told) != 1 || !strings.HasPrefix(told[0], `{"interval":5,"$version":`) {
		t.Errorf("the device was told %q", told)
	}

	// The twin of a2 has no room for as much again; that of a3 has.
	create("j2", "STARTSWITH(deviceId, 'a')", `{"tags":{"more":"`+strings.Repeat("y", 3000)+`","again":"`+
		strings.Repeat("z", 3000)+`"}}`)
	done := awaitJob(h, "j2")
	if done.Status != job.Completed || done.Statistics != (job.Statistics{Devices: 3, Succeeded: 2, Failed: 1}) {
		t.Errorf("it is %+v", done)
	}
	devices, _, err := h.Jobs().Devices(ctx, "j2", "", 10)
	if err != nil || len(devices) != 3 || devices[1].Error == nil || devices[1].Error.Code != int(fault.ArgumentInvalid) {
		t.Errorf("its devices are %+v: %v", devices, err)
	}

	for text, want := range map[string]string{
		"SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j2' AND devices.jobs.status = 'failed'": `"deviceId":"a2"`,
		"select * from devices.jobs where error.code = '400004'":                                        `"jobId":"j2"`,
	} {
		found, err := h.Query(ctx, text, hub.QueryPage{Limit: 10})
		if err != nil || len(found.Rows) != 1 || !strings.Contains(string(found.Rows[0]), want) ||
			found.ItemType != hub.DeviceJobRows {
			t.Errorf("%s: %s of %s, %v", text, found.Rows, found.ItemType, err)
		}
	}
	if page, err := h.Query(ctx, "SELECT * FROM devices.jobs", hub.QueryPage{Limit: 4}); err != nil ||
		len(page.Rows) != 4 || page.Continuation == "" {
		t.Errorf("a page is %s: %v", page.Rows, err)
	}

	create("j3", "FROM devices.modules WHERE moduleId = 'camera'", `{"tags":{"seen":true}}`)
	if done := awaitJob(h, "j3"); done.Statistics.Succeeded != 1 {
		t.Errorf("it is %+v", done)
	}
	if twin, err := h.Twin(ctx, identity.ModuleKey("a2", "camera")); err != nil || twin.Tags.String() != `{"seen":true}` {
		t.Errorf("the tags of the module are %s: %v", twin.Tags, err)
	}

	create("j4", "tags.site =", `{"tags":{}}`)
	if failed := awaitJob(h, "j4"); failed.Status != job.Failed || !strings.Contains(failed.Reason, "column") {
		t.Errorf("one whose condition can't be read is %+v", failed)
	}
	if _, err := h.CreateJob(ctx, job.Specification{ID: "j5", Kind: job.UpdateTwin,
		Twin: json.RawMessage(`{"tags":null}`)}); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("one that would delete all tags: %v", err)
	}
}

// stopAgainAndAgain closes the hub and opens it again after so many commits each, until a job
// has ended, and returns how often that was in the middle of it.
func stopAgainAndAgain(h *hubtest.Hub, created job.Job, commits int64) (stops int) {
	h.T.Helper()
	for !created.Status.HasEnded() {
		var made atomic.Int64
		count := func() { made.Add(1) }
		h.Documents.AfterCommit.Store(&count)
		for made.Load() < commits && !created.Status.HasEnded() {
			var err error
			if created, err = h.Jobs().Get(context.Background(), created.ID); err != nil {
				h.T.Fatal(err)
			}
		}
		if !created.Status.HasEnded() {
			stops++
		}
		h.Reopen()
	}
	return stops
}

// TestJobGoesOnAfterAStop stops the hub in the middle of a job, again and again, and finds
// that each twin was changed once.
func TestJobGoesOnAfterAStop(t *testing.T) {
	h := hubtest.New(t)
	const devices = 300
	for i := range devices {
		h.Create(identity.Device{DeviceID: fmt.Sprintf("d%03d", i)})
	}
	created, err := h.CreateJob(t.Context(), job.Specification{ID: "j1", Kind: job.UpdateTwin, Condition: "*",
		Twin: json.RawMessage(`{"properties":{"desired":{"interval":5}}}`)})
	if err != nil {
		t.Fatal(err)
	}
	stops := stopAgainAndAgain(h, created, 40)
	if stops < 2 {
		t.Errorf("the job was stopped %d times on its way", stops)
	}
	if done := awaitJob(h, "j1"); done.Status != job.Completed ||
		done.Statistics != (job.Statistics{Devices: devices, Succeeded: devices}) {
		t.Errorf("after %d stops it is %+v", stops, done)
	}
	for i := range devices {
		twin, err := h.Twin(t.Context(), fmt.Sprintf("d%03d", i))
		if err != nil || !strings.HasSuffix(twin.Properties.Desired.String(), `"$version":2}`) {
			t.Fatalf("a twin is %s: %v", twin.Properties.Desired, err)
		}
	}
}

// TestJobCallsMethods calls a method of each device that a condition finds. One that is not
// connected fails, and one whose hub stops while it is called is not called again.
func TestJobCallsMethods(t *testing.T) {
	h, ctx := hubtest.New(t), t.Context()
	device := h.Create(identity.Device{DeviceID: "a1"})
	h.Create(identity.Device{DeviceID: "a2"})
	call := func(id, condition string) {
		t.Helper()
		if _, err := h.CreateJob(ctx, job.Specification{ID: id, Kind: job.InvokeMethod, Condition: condition,
			Method: json.RawMessage(`{"methodName":"reboot","payload":{"now":true}}`)}); err != nil {
			t.Fatal(err)
		}
	}
	session, line := h.Connect(device, false)
	called := func() hubtest.Call {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); len(line.Calls()) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the device is not called")
			}
		}
		return line.Calls()[0]
	}
	call("j1", "*")
	first := called()
	if first.Name != "reboot" || first.Payload != `{"now":true}` {
		t.Errorf("the device is called with %+v", first)
	}
	if err := session.AnswerMethod(ctx, first.RequestID, "207", []byte(`{"in":5}`)); err != nil {
		t.Fatal(err)
	}
	if done := awaitJob(h, "j1"); done.Status != job.Completed ||
		done.Statistics != (job.Statistics{Devices: 2, Succeeded: 1, Failed: 1}) {
		t.Errorf("it is %+v", done)
	}
	devices, _, err := h.Jobs().Devices(ctx, "j1", "", 10)
	if err != nil || len(devices) != 2 || devices[0].Answer == nil || devices[0].Answer.Status != 207 ||
		string(devices[0].Answer.Payload) != `{"in":5}` || devices[1].Error == nil ||
		devices[1].Error.Code != int(fault.DeviceNotOnline) {
		t.Errorf("its devices are %+v: %v", devices, err)
	}
	session.Close(nil)

	_, line = h.Connect(device, false)
	call("j2", "deviceId = 'a1'")
	called()
	h.Reopen()
	_, line = h.Connect(device, false)
	if done := awaitJob(h, "j2"); done.Status != job.Completed ||
		done.Statistics != (job.Statistics{Devices: 1, Failed: 1}) || len(line.Calls()) != 0 {
		t.Errorf("it is %+v, and the device was called again %d times", done, len(line.Calls()))
	}
	devices, _, err = h.Jobs().Devices(ctx, "j2", "", 10)
	if err != nil || len(devices) != 1 || !strings.Contains(devices[0].Error.Description, "not known") {
		t.Errorf("its devices are %+v: %v", devices, err)
	}
	for _, method := range []string{"", "null", "5", `{"payload":1}`, `{"methodName":"a/b"}`,
		`{"methodName":"a","responseTimeoutInSeconds":1}`} {
		_, err := h.CreateJob(ctx, job.Specification{ID: "j3", Kind: job.InvokeMethod, Method: json.RawMessage(method)})
		if !errors.Is(err, fault.ArgumentInvalid) && !errors.Is(err, fault.ArgumentNull) {
			t.Errorf("the call %s: %v", method, err)
		}
	}
}
