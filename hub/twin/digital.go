package twin

import (
	"context"
	"errors"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// The digital twin is a view of a twin by the conventions of IoT Plug and Play (Microsoft
// Learn, concepts-convention and concepts-digital-twin): components are objects that are
// marked as such, a reported property may acknowledge the desired one, and what is desired
// and when it was reported stands in $metadata. A twin of a device without a model has the
// view too.

// The marks of the conventions.
const (
	componentMark = "__t" // of an object in desired or reported properties
	componentKind = "c"

	ackValue       = "value"
	ackCode        = "ac"
	ackVersion     = "av"
	ackDescription = "ad"
)

// Digital returns the digital twin of the device, and its ETag, which is the twin's.
func (d Document) Digital(deviceID string) (view document.Object, etag string) {
	var metadata document.Object
	view.Set("$dtId", document.TextOf(deviceID))
	metadata.Set("$model", document.TextOf(d.ModelID))
	d.digitalProperties(&view, &metadata, part{d.Reported.Properties, d.Reported.Metadata},
		part{d.Desired.Properties, d.Desired.Metadata}, true)
	view.Set(metadataName, document.ValueOf(metadata))
	return view, d.publicETag()
}

// part is a section or a component of it, with its metadata.
type part struct{ properties, metadata document.Object }

// in returns the object of this name in a part.
func (p part) in(name string) part {
	return part{p.properties.Get(name).Object(), p.metadata.Get(name).Object()}
}

func isComponent(value document.Value) bool {
	return value.Object().Get(componentMark).Text() == componentKind
}

// digitalProperties adds what is reported to a view, in its order, and to its metadata what
// is desired besides.
func (d Document) digitalProperties(view, metadata *document.Object, reported, desired part, root bool) {
	add := func(name string, value document.Value, is bool) {
		wanted := desired.properties.Get(name)
		switch {
		case name == componentMark && !root, name == metadataName, name == "$dtId":
		case root && (isComponent(value) || isComponent(wanted)):
			var component, its document.Object
			d.digitalProperties(&component, &its, reported.in(name), desired.in(name), false)
			component.Set(metadataName, document.ValueOf(its))
			view.Set(name, document.ValueOf(component))
		default:
			var of document.Object
			if wanted.Kind() != document.KindAbsent {
				of.Set("desiredValue", wanted)
				version := desired.metadata.Get(name, lastVersion)
				if version.Kind() == document.KindAbsent { // of a first twin
					version = document.IntegerOf(d.Desired.Version)
				}
				of.Set("desiredVersion", version)
			}
			if is {
				view.Set(name, acknowledged(value, &of))
				if at := reported.metadata.Get(name, lastUpdated); at.Kind() != document.KindAbsent {
					of.Set("lastUpdateTime", at)
				}
			}
			metadata.Set(name, document.ValueOf(of))
		}
	}
	for name, value := range reported.properties.All() {
		add(name, value, true)
	}
	for name := range desired.properties.All() {
		if reported.properties.Get(name).Kind() == document.KindAbsent {
			add(name, document.Value{}, false)
		}
	}
}

// acknowledged returns what a property is, and says in its metadata what it acknowledges.
func acknowledged(reported document.Value, metadata *document.Object) document.Value {
	object := reported.Object()
	value, code, version := object.Get(ackValue), object.Get(ackCode), object.Get(ackVersion)
	if value.Kind() == document.KindAbsent || code.Kind() != document.KindNumber && version.Kind() != document.KindNumber {
		return reported
	}
	for _, ack := range []struct {
		name  string
		value document.Value
	}{{"ackVersion", version}, {"ackCode", code}, {"ackDescription", object.Get(ackDescription)}} {
		if ack.value.Kind() != document.KindAbsent {
			metadata.Set(ack.name, ack.value)
		}
	}
	return value
}

var errUnchanged = errors.New("the twin has all of this already")

// PatchDigital changes the desired properties of a twin by a patch of its digital twin,
// under the condition ifMatch: "", "*" or the twin's ETag. It returns the twin and the
// patch that this was for it, which is empty when nothing changed. The faults are those of
// Patch, 400507 for what can't be done with this twin.
func (t *Twins) PatchDigital(
	ctx context.Context, id string, patch DigitalPatch, ifMatch string,
) (changed Document, made Patch, err error) {
	changed, err = t.countUpdate(t.update(ctx, id, false, func(d *Document) (body, error) {
		if err := fault.Precondition("twin", ifMatch, d.publicETag()); err != nil {
			return nil, err
		}
		desired, err := patch.desired(d.Desired.Properties)
		if err != nil {
			return nil, err
		}
		if made = (Patch{Desired: &desired}); desired.Len() == 0 {
			made = Patch{}
			return nil, errUnchanged
		}
		return func() []byte { return d.update(made, nil) }, d.apply(made, false, t.now())
	}))
	if errors.Is(err, errUnchanged) {
		changed, err = t.Get(ctx, id)
	}
	return changed, made, err
}
