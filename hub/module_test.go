package hub_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/c2d"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/hubtest"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/store"
)

// addModule adds a module to a device.
func addModule(h *hubtest.Hub, deviceID, moduleID string) identity.Module {
	h.T.Helper()
	module, err := h.CreateModule(h.T.Context(), identity.Module{DeviceID: deviceID, ModuleID: moduleID})
	if err != nil {
		h.T.Fatal(err)
	}
	return module
}

// moduleToken makes a token with a module's own key.
func moduleToken(h *hubtest.Hub, m identity.Module, resource string) credential.Evidence {
	h.T.Helper()
	token, err := credential.NewToken(resource, "", *m.Authentication.SymmetricKey.PrimaryKey, h.Now().Add(time.Hour))
	if err != nil {
		h.T.Fatal(err)
	}
	return credential.Evidence{Token: token}
}

// connectModule opens a session with a module's token.
func connectModule(h *hubtest.Hub, m identity.Module) (*connection.Session, *hubtest.Line) {
	h.T.Helper()
	down := new(hubtest.Line)
	session, err := h.Connections().OpenSession(h.T.Context(), identity.ModuleKey(m.DeviceID, m.ModuleID),
		moduleToken(h, m, "hub.local/devices/"+m.DeviceID+"/modules/"+m.ModuleID), true, down)
	if err != nil {
		h.T.Fatal(err)
	}
	h.T.Cleanup(func() { session.Close(nil) })
	return session, down
}

// TestModules creates, reads, changes and deletes module identities.
func TestModules(t *testing.T) {
	h, ctx := hubtest.New(t), t.Context()
	h.Create(identity.Device{DeviceID: "d"})
	m := addModule(h, "d", "m")
	addModule(h, "d", "a")
	if m.GenerationID == "" || m.ETag == "" || m.ConnectionState != identity.Disconnected || m.ManagedBy != nil ||
		m.Authentication.Type != identity.SAS {
		t.Errorf("the module is %+v", m)
	}
	h.Reopen()
	if found, err := h.Module(ctx, "d", "m"); err != nil || found.ETag != m.ETag || found.GenerationID != m.GenerationID {
		t.Errorf("the module is %+v, error %v", found, err)
	}
	if all, err := h.Modules(ctx, "d"); err != nil || len(all) != 2 || all[0].ModuleID != "a" || all[1].ModuleID != "m" {
		t.Errorf("the modules are %+v, error %v", all, err)
	}
	manager := "somebody"
	changed := m
	changed.ManagedBy = &manager
	updated, err := h.UpdateModule(ctx, changed, m.ETag)
	if err != nil || *updated.ManagedBy != manager || updated.GenerationID != m.GenerationID || updated.ETag == m.ETag {
		t.Errorf("the module becomes %+v, error %v", updated, err)
	}
	for name, c := range map[string]struct{ got, want error }{
		"create a module that is there": {second(h.CreateModule(ctx, m)), fault.ModuleAlreadyExists},
		"create on no device": {second(h.CreateModule(ctx, identity.Module{DeviceID: "none", ModuleID: "m"})),
			fault.DeviceNotFound},
		"read one that is not there": {second(h.Module(ctx, "d", "none")), fault.ModuleNotFound},
		"read of no device":          {second(h.Module(ctx, "none", "m")), fault.DeviceNotFound},
		"list of no device":          {second(h.Modules(ctx, "none")), fault.DeviceNotFound},
		"update a stale one":         {second(h.UpdateModule(ctx, changed, m.ETag)), fault.PreconditionFailed},
		"update none": {second(h.UpdateModule(ctx, identity.Module{DeviceID: "d", ModuleID: "none"}, "*")),
			fault.ModuleNotFound},
		"delete a stale one": {h.DeleteModule(ctx, "d", "m", m.ETag), fault.PreconditionFailed},
		"delete none":        {h.DeleteModule(ctx, "d", "none", "*"), fault.ModuleNotFound},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	if err := h.DeleteModule(ctx, "d", "m", updated.ETag); err != nil {
		t.Fatal(err)
	}
	if again := addModule(h, "d", "m"); again.GenerationID == m.GenerationID || again.ETag == m.ETag {
		t.Errorf("another module has the generation of the first: %+v", again)
	}
}

func second[T any](_ T, err error) error { return err }

// TestModuleLimit adds modules at once: a device gets no more than it can have.
func TestModuleLimit(t *testing.T) {
	h, ctx := hubtest.New(t), t.Context()
	h.Create(identity.Device{DeviceID: "d"})
	var group sync.WaitGroup
	refused := make(chan error, identity.MaxModules+10)
	for i := range cap(refused) {
		group.Go(func() {
			_, err := h.CreateModule(ctx, identity.Module{DeviceID: "d", ModuleID: fmt.Sprint(i)})
			refused <- err
		})
	}
	group.Wait()
	close(refused)
	created := 0
	for err := range refused {
		switch {
		case err == nil:
			created++
		case !errors.Is(err, fault.TooManyModules):
			t.Errorf("a module is answered %v", err)
		}
	}
	if all, err := h.Modules(ctx, "d"); err != nil || created != identity.MaxModules || len(all) != created {
		t.Errorf("%d modules were created and %d are there, error %v", created, len(all), err)
	}
}

// TestDeleteDeviceWithModules leaves nothing of a device that has as many modules as it can
// have, each connected, with a twin and messages, and nothing of others is touched.
func TestDeleteDeviceWithModules(t *testing.T) {
	h, ctx := hubtest.New(t), t.Context()
	h.Create(identity.Device{DeviceID: "d", Capabilities: identity.Capabilities{IoTEdge: true}})
	h.Create(identity.Device{DeviceID: "d2"})
	kept := addModule(h, "d2", "m")
	out := c2d.Outgoing{MessageID: "1", Message: message.Message{Payload: []byte("open")}}
	var lines []*hubtest.Line
	for i := range identity.MaxModules {
		_, down := connectModule(h, addModule(h, "d", fmt.Sprint("m", i)))
		lines = append(lines, down)
		if _, err := h.SendMessage(ctx, fmt.Sprint("d/m", i), out); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"d", "d2/m"} {
		if _, err := h.SendMessage(ctx, id, out); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.DeleteDevice(ctx, "d", "*"); err != nil {
		t.Fatal(err)
	}
	for _, down := range lines {
		if !errors.Is(down.Ended(), connection.ErrDeleted) {
			t.Fatalf("a module of a device that was deleted is connected: %v", down.Ended())
		}
	}
	h.Reopen()
	for _, collection := range []string{"devices", "modules", "module-sets", "twins", "queues", "messages",
		"subscriptions", "activity", "connections"} {
		left, err := h.Documents.List(ctx, "hub/test/"+collection, "d", "", 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range left {
			if document.Key[:2] != "d2" {
				t.Errorf("%s still has %q", collection, document.Key)
			}
		}
	}
	if found, err := h.Module(ctx, "d2", "m"); err != nil || found.GenerationID != kept.GenerationID ||
		found.CloudToDeviceMessageCount != 1 {
		t.Errorf("the module of another device is %+v, error %v", found, err)
	}
}

// TestSystemModules gives an IoT Edge device its system modules, when it is made and when it
// becomes one. Nobody connects with them, and they stay as long as it is one.
func TestSystemModules(t *testing.T) {
	h, ctx := hubtest.New(t), t.Context()
	edge := identity.Capabilities{IoTEdge: true}
	h.Create(identity.Device{DeviceID: "new", Capabilities: edge})
	h.Create(identity.Device{DeviceID: "later"})
	if _, err := h.UpdateDevice(ctx, identity.Device{DeviceID: "later", Capabilities: edge}, "*"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.EnsureDevice(ctx, hub.Admission{DeviceID: "admitted", IoTEdge: true,
		PrimaryKey: credential.NewKey(32), SecondaryKey: credential.NewKey(32)}); err != nil {
		t.Fatal(err)
	}
	for _, deviceID := range []string{"new", "later", "admitted"} {
		modules, err := h.Modules(ctx, deviceID)
		if err != nil || len(modules) != 2 || modules[0].ModuleID != "$edgeAgent" || modules[1].ModuleID != "$edgeHub" {
			t.Fatalf("%s has the modules %+v, error %v", deviceID, modules, err)
		}
		for _, m := range modules {
			if *m.ManagedBy != "iotEdge" || m.Authentication.Type != identity.NoAuthentication {
				t.Errorf("a system module is %+v", m)
			}
			id := identity.ModuleKey(deviceID, m.ModuleID)
			twin, err := h.PatchTwin(ctx, id, []byte(`{"properties":{"desired":{"a":1}}}`), "")
			if err != nil || twin.ModuleID != m.ModuleID || twin.AuthenticationType != identity.NoAuthentication {
				t.Errorf("its twin is %+v, error %v", twin, err)
			}
			if err := h.DeleteModule(ctx, deviceID, m.ModuleID, "*"); !errors.Is(err, fault.SystemModuleModification) {
				t.Errorf("its deletion is answered %v", err)
			}
			if _, err := h.UpdateModule(ctx, m, "*"); !errors.Is(err, fault.ArgumentInvalid) {
				t.Errorf("its update is answered %v", err)
			}
			_, err = h.Connections().OpenSession(ctx, id, credential.Evidence{Token: "SharedAccessSignature sr=a"}, true,
				new(hubtest.Line))
			if !errors.Is(err, fault.UnauthorizedAccess) {
				t.Errorf("its connection is answered %v", err)
			}
		}
	}
	// What a deployment has written stays while the device is none for a while.
	if _, err := h.UpdateDevice(ctx, identity.Device{DeviceID: "later"}, "*"); err != nil {
		t.Fatal(err)
	}
	if twin, err := h.Twin(ctx, "later/$edgeAgent"); err != nil || twin.Properties.Desired.Len() == 0 {
		t.Errorf("the twin is %+v, error %v", twin, err)
	}
	if err := h.DeleteModule(ctx, "later", "$edgeAgent", "*"); err != nil {
		t.Errorf("a module that is no system module any more can't be deleted: %v", err)
	}
}

// TestModuleSession connects a module, which has a twin, messages, telemetry and a state of
// its own, and is not counted as a device.
func TestModuleSession(t *testing.T) {
	h, ctx := hubtest.New(t), t.Context()
	device := h.Create(identity.Device{DeviceID: "d"})
	m := addModule(h, "d", "m")
	other := addModule(h, "d", "other")
	for name, evidence := range map[string]credential.Evidence{
		"for another module": moduleToken(h, m, "hub.local/devices/d/modules/other"),
		"of another module":  moduleToken(h, other, "hub.local/devices/d/modules/m"),
		"of its device":      {Token: h.Token(device)},
		"none":               {},
	} {
		_, err := h.Connections().OpenSession(ctx, "d/m", evidence, true, new(hubtest.Line))
		if !errors.Is(err, fault.UnauthorizedAccess) {
			t.Errorf("a token %s is answered %v", name, err)
		}
	}
	for id, want := range map[string]error{"d/none": fault.ModuleNotFound, "none/m": fault.DeviceNotFound} {
		if _, err := h.Connections().OpenSession(ctx, id, moduleToken(h, m, "hub.local"), true,
			new(hubtest.Line)); !errors.Is(err, want) {
			t.Errorf("%s is answered %v, want %v", id, err, want)
		}
	}
	session, down := connectModule(h, m)
	ofDevice, _ := h.Connect(device, true)
	if counted, err := h.Connections().Statistics(ctx); err != nil || counted.ConnectedDeviceCount != 1 ||
		h.Stats().Connected != 1 {
		t.Errorf("%+v are connected, error %v", counted, err)
	}
	if _, err := h.PatchTwin(ctx, "d/m", []byte(`{"properties":{"desired":{"interval":5}}}`), ""); err != nil {
		t.Fatal(err)
	}
	if notices := down.Notices(); len(notices) != 1 || notices[0] != `{"interval":5,"$version":2}` {
		t.Errorf("the module was told %q", notices)
	}
	if _, err := session.Report(ctx, []byte(`{"mode":"slow"}`)); err != nil {
		t.Fatal(err)
	}
	if twin, err := h.Twin(ctx, "d"); err != nil || twin.Properties.Reported.Len() > 2 || twin.Capabilities == nil {
		t.Errorf("the device's twin is %+v, error %v", twin, err)
	}
	described, err := h.Twin(ctx, "d/m")
	if err != nil || described.DeviceID != "d" || described.ModuleID != "m" || described.DeviceETag != m.ETag ||
		described.ConnectionState != identity.Connected || described.Capabilities != nil ||
		described.Status != identity.Enabled {
		t.Errorf("the module's twin is %+v, error %v", described, err)
	}
	if _, err := h.SendMessage(ctx, "d/m", c2d.Outgoing{Message: message.Message{Payload: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	if got, _, err := ofDevice.ReceiveMessages(ctx, nil, 5); err != nil || len(got) > 0 {
		t.Errorf("the device receives the module's messages %+v, error %v", got, err)
	}
	if got, _, err := session.ReceiveMessages(ctx, nil, 5); err != nil || len(got) != 1 ||
		string(got[0].System[0].Value) != "/devices/d/modules/m/messages/deviceBound" {
		t.Errorf("the module receives %+v, error %v", got, err)
	}
	h.Send(session, message.Message{Payload: []byte("21")})
	h.Send(ofDevice, message.Message{Payload: []byte("22")})
	for filter, want := range map[string]int{"d": 2, "d/m": 1, "d/other": 0, "": 2} {
		if got, err := h.Telemetry().Recent(ctx, filter, 5); err != nil || len(got) != want {
			t.Errorf("%q has sent %+v, error %v", filter, got, err)
		}
	}
	sent := telemetry.Message{}
	if got, err := h.Telemetry().Recent(ctx, "d/m", 1); err == nil && len(got) == 1 {
		sent = got[0]
	}
	if sent.DeviceID != "d" || sent.ModuleID != "m" || sent.SystemProperties["iothub-connection-module-id"] != "m" ||
		sent.SystemProperties["iothub-connection-device-id"] != "d" ||
		sent.SystemProperties["iothub-connection-auth-generation-id"] != m.GenerationID ||
		sent.SystemProperties["iothub-connection-auth-method"] !=
			`{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}` {
		t.Errorf("readers get %+v", sent)
	}
	h.Reopen()
	if history, err := h.Connections().History(ctx, "d/m"); err != nil || len(history) != 2 || history[0].Connected {
		t.Errorf("the module's connections were %+v, error %v", history, err)
	}
	if found, err := h.Module(ctx, "d", "m"); err != nil || found.ConnectionState != identity.Disconnected ||
		!found.LastActivityTime.Equal(hubtest.Noon) {
		t.Errorf("the module is %+v, error %v", found, err)
	}
}

// TestModuleSessionEnds when anything takes the module its right to be connected.
func TestModuleSessionEnds(t *testing.T) {
	for name, c := range map[string]struct {
		change func(h *hubtest.Hub, m identity.Module) error
		want   error
	}{
		"its device is disabled": {func(h *hubtest.Hub, m identity.Module) error {
			return second(h.UpdateDevice(h.T.Context(), identity.Device{DeviceID: "d", Status: "disabled"}, "*"))
		}, connection.ErrDisabled},
		"its device is deleted": {func(h *hubtest.Hub, m identity.Module) error {
			return h.DeleteDevice(h.T.Context(), "d", "*")
		}, connection.ErrDeleted},
		"it is deleted": {func(h *hubtest.Hub, m identity.Module) error {
			return h.DeleteModule(h.T.Context(), "d", "m", "*")
		}, connection.ErrDeleted},
		"its keys are changed": {func(h *hubtest.Hub, m identity.Module) error {
			m.Authentication = &identity.Authentication{SymmetricKey: hubtest.NewKeys()}
			return second(h.UpdateModule(h.T.Context(), m, "*"))
		}, connection.ErrCredentialChanged},
		"another module is deleted": {func(h *hubtest.Hub, m identity.Module) error {
			return h.DeleteModule(h.T.Context(), "d", "m2", "*")
		}, nil},
		"its device has another key": {func(h *hubtest.Hub, m identity.Module) error {
			return second(h.RenewKeys(h.T.Context(), "d", true, true))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := hubtest.New(t)
			h.Create(identity.Device{DeviceID: "d"})
			addModule(h, "d", "m2")
			m := addModule(h, "d", "m")
			session, down := connectModule(h, m)
			if err := c.change(h, m); err != nil {
				t.Fatal(err)
			}
			if !errors.Is(down.Ended(), c.want) || c.want == nil && down.Ended() != nil {
				t.Errorf("the connection ended with %v, want %v", down.Ended(), c.want)
			}
			if _, err := session.Twin(t.Context()); (err == nil) != (c.want == nil) {
				t.Errorf("the twin is answered %v", err)
			}
		})
	}
}

// TestUnreadableModule is replaced, or deleted with what belongs to it; a device whose module
// can't be read can be deleted too.
func TestUnreadableModule(t *testing.T) {
	h, ctx := hubtest.New(t), t.Context()
	h.Create(identity.Device{DeviceID: "d", Capabilities: identity.Capabilities{IoTEdge: true}})
	damage := func(id string) {
		t.Helper()
		if _, err := h.Documents.Commit(ctx, store.Change{Collection: h.Registry().ModuleCollection(), Key: id,
			Value: []byte("{")}); err != nil {
			t.Fatal(err)
		}
	}
	addModule(h, "d", "m")
	damage("d/m")
	if _, err := h.Module(ctx, "d", "m"); !store.IsUnreadable(err) {
		t.Errorf("the module is answered %v", err)
	}
	if all, err := h.Modules(ctx, "d"); err != nil || len(all) != 2 {
		t.Errorf("the modules are %+v, error %v", all, err)
	}
	if _, err := h.CreateModule(ctx, identity.Module{DeviceID: "d", ModuleID: "m"}); err != nil {
		t.Error(err)
	}
	damage("d/m")
	if _, err := h.UpdateModule(ctx, identity.Module{DeviceID: "d", ModuleID: "m"}, "*"); err != nil {
		t.Error(err)
	}
	damage("d/m")
	damage("d/$edgeHub")
	for _, id := range []string{"d/m", "d/$edgeHub"} {
		if handled, err := h.DeleteUnreadable(ctx, h.Registry().ModuleCollection(), id); !handled || err != nil {
			t.Errorf("%s: handled %v, error %v", id, handled, err)
		}
	}
	if all, err := h.Modules(ctx, "d"); err != nil || len(all) != 1 {
		t.Errorf("the modules are %+v, error %v", all, err)
	}
	addModule(h, "d", "m")
	damage("d/m")
	if _, err := h.Documents.Commit(ctx, store.Change{Collection: h.Registry().Collection(), Key: "d",
		Value: []byte("{")}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.CreateModule(ctx, identity.Module{DeviceID: "d", ModuleID: "x"}); !store.IsUnreadable(err) {
		t.Errorf("a module of a device that can't be read is answered %v", err)
	}
	if err := h.DeleteModule(ctx, "d", "m", "*"); !store.IsUnreadable(err) {
		t.Errorf("its deletion is answered %v", err)
	}
	if err := h.DeleteDevice(ctx, "d", "*"); err != nil {
		t.Error(err)
	}
	if ids, err := h.Registry().ModuleIDs(ctx, "d"); err != nil || len(ids) > 0 {
		t.Errorf("the modules %v stay, error %v", ids, err)
	}
}
