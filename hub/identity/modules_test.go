package identity

import (
	"errors"
	"fmt"
	"testing"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// addModule adds a module to a device and returns the changes that did.
func addModule(t testing.TB, r *Registry, deviceID, moduleID string) []store.Change {
	t.Helper()
	module := Module{DeviceID: deviceID, ModuleID: moduleID}
	if err := module.Complete(nil); err != nil {
		t.Fatal(err)
	}
	changes, err := r.PrepareCreateModule(ctx, &module)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, r.documents, changes...)
	return changes
}

func TestSplitKey(t *testing.T) {
	for id, want := range map[string][2]string{"d": {"d", ""}, ModuleKey("d", "m"): {"d", "m"}, "d/m/x": {"d", "m/x"}} {
		if deviceID, moduleID := SplitKey(id); deviceID != want[0] || moduleID != want[1] {
			t.Errorf("%q is split into %q and %q", id, deviceID, moduleID)
		}
	}
}

// TestPrincipal asks for devices and modules by one id.
func TestPrincipal(t *testing.T) {
	documents := newDocuments(t)
	r := openRegistry(t, documents, false)
	create(t, r, Device{DeviceID: "d"})
	create(t, r, Device{DeviceID: "off", Status: Disabled})
	addModule(t, r, "d", "m")
	addModule(t, r, "off", "m")
	for id, want := range map[string]error{"d": nil, "d/m": nil, "off/m": nil, "none": fault.DeviceNotFound,
		"none/m": fault.DeviceNotFound, "d/none": fault.ModuleNotFound, "d/": fault.ArgumentInvalid,
		"/m": fault.ArgumentInvalid, "d/m/x": fault.ArgumentInvalid, "d/é": fault.ArgumentInvalid} {
		p, err := r.Principal(ctx, id)
		if !errors.Is(err, want) {
			t.Errorf("%q is answered %v, want %v", id, err, want)
		}
		if want != nil {
			continue
		}
		if p.ID != id || p.GenerationID == "" || p.Authentication.Type != SAS || p.Disabled != (id == "off/m") {
			t.Errorf("%q is %+v", id, p)
		}
		commit(t, documents, r.Unchanged(p))
		commit(t, documents, r.Present(id))
	}
	before, err := r.Module(ctx, "d", "m")
	if err != nil {
		t.Fatal(err)
	}
	changed := before
	changed.ManagedBy = text("somebody")
	update, after := r.PrepareUpdateModule(before, changed)
	commit(t, documents, update)
	if after.GenerationID != before.GenerationID {
		t.Errorf("%+v becomes %+v", before, after)
	}
	for name, late := range map[string]store.Change{"update": update, "unchanged": r.Unchanged(before.Principal()),
		"deletion": r.PrepareDeleteModule("d", "m", before.ETag)} {
		if _, conflict := store.IsConflict(second(documents.Commit(ctx, late))); !conflict {
			t.Errorf("%s of a module that was changed is no conflict", name)
		}
	}
}

// TestDeviceWithModules deletes a device while a module is added to it: one of the two
// finds a conflict, in either order, and no module stays without its device.
func TestDeviceWithModules(t *testing.T) {
	for _, had := range []bool{false, true} {
		r := openRegistry(t, newDocuments(t), false)
		create(t, r, Device{DeviceID: "d"})
		create(t, r, Device{DeviceID: "d-2"})
		addModule(t, r, "d-2", "other")
		if had {
			addModule(t, r, "d", "first")
		}
		device, _ := r.Get(ctx, "d")
		early := prepareDelete(t, r, "d", device.ETag)
		late := addModule(t, r, "d", "m")
		if _, conflict := store.IsConflict(second(r.documents.Commit(ctx, early...))); !conflict {
			t.Error("a deletion that has not seen a module is committed")
		}
		commit(t, r.documents, prepareDelete(t, r, "d", device.ETag)...)
		if _, conflict := store.IsConflict(second(r.documents.Commit(ctx, late...))); !conflict {
			t.Error("a module is added to a device that is gone")
		}
		if ids, err := r.ModuleIDs(ctx, "d"); err != nil || len(ids) > 0 {
			t.Errorf("the modules %v stay, error %v", ids, err)
		}
		if others, err := r.Modules(ctx, "d-2"); err != nil || len(others) != 1 || others[0].ModuleID != "other" {
			t.Errorf("the other device has %v, error %v", others, err)
		}
		create(t, r, Device{DeviceID: "d"})
		addModule(t, r, "d", "m")
	}
}

// TestTooManyModules adds as many modules as a device can have, beside its system modules.
func TestTooManyModules(t *testing.T) {
	r := openRegistry(t, newDocuments(t), false)
	create(t, r, Device{DeviceID: "d", Capabilities: Capabilities{IoTEdge: true}})
	system, changes, err := r.PrepareSystemModules(ctx, "d")
	if err != nil || len(system) != 2 {
		t.Fatalf("the system modules are %v, error %v", system, err)
	}
	commit(t, r.documents, changes...)
	if again, changes, err := r.PrepareSystemModules(ctx, "d"); err != nil || len(again)+len(changes) > 0 {
		t.Errorf("the system modules are made again: %v, error %v", again, err)
	}
	for i := range MaxModules {
		addModule(t, r, "d", fmt.Sprint("m", i))
	}
	module := Module{DeviceID: "d", ModuleID: "one-more", Authentication: &Authentication{}}
	if _, err := r.PrepareCreateModule(ctx, &module); !errors.Is(err, fault.TooManyModules) {
		t.Errorf("one more is answered %v", err)
	}
	module.ModuleID = "m7"
	if _, err := r.PrepareCreateModule(ctx, &module); !errors.Is(err, fault.ModuleAlreadyExists) {
		t.Errorf("one that is there is answered %v", err)
	}
	if ids, err := r.ModuleIDs(ctx, "d"); err != nil || len(ids) != MaxModules+2 {
		t.Errorf("the device has %d modules, error %v", len(ids), err)
	}
	wantStatistics(t, r, Statistics{TotalDeviceCount: 1, EnabledDeviceCount: 1})
}

// TestModuleComplete holds what operators may write of a module against the rules.
func TestModuleComplete(t *testing.T) {
	for name, c := range map[string]struct {
		module Module
		want   string
	}{
		"no id":           {Module{DeviceID: "d"}, "The module id is empty"},
		"a slash":         {Module{DeviceID: "d", ModuleID: "a/b"}, `The module id "a/b" has the character '/'`},
		"a system module": {Module{DeviceID: "d", ModuleID: "$edgeHub"}, `The module id "$edgeHub" begins with $`},
		"one key": {Module{DeviceID: "d", ModuleID: "m",
			Authentication: &Authentication{SymmetricKey: KeyPair{PrimaryKey: text("AAAA")}}},
			"authentication.symmetricKey has one key"},
	} {
		var problem *fault.Error
		if err := c.module.Complete(nil); !errors.As(err, &problem) || problem.Code != fault.ArgumentInvalid ||
			len(problem.Message) < len(c.want) || problem.Message[:len(c.want)] != c.want {
			t.Errorf("%s is answered %v, want %s", name, err, c.want)
		}
	}
	none := Module{DeviceID: "d", ModuleID: "m", Authentication: &Authentication{Type: NoAuthentication}}
	if err := none.Complete(nil); err != nil || none.Authentication.Type != SAS ||
		none.Authentication.SymmetricKey.PrimaryKey == nil {
		t.Errorf("a module without authentication becomes %+v, error %v", none, err)
	}
}
