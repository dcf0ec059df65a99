package hub

import (
	"errors"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

const (
	metadataName = "$metadata"
	versionName  = "$version"
	lastUpdated  = "$lastUpdated"
	lastVersion  = "$lastUpdatedVersion"
)

// readObject reads a part of a twin. $version and $metadata, which SDKs send
// back, are left aside.
func readObject(what string, body []byte) (document.Object, error) {
	if len(body) > maxSection {
		return document.Object{}, fault.New(fault.ArgumentInvalid,
			"%s is too large: it has %d bytes of JSON, and %d are allowed", fault.Word(what), len(body), maxSection)
	}
	read, err := document.Parse(body, maxNesting)
	if errors.As(err, new(*document.DepthError)) {
		return read, fault.New(fault.ArgumentInvalid, "%s: nested deeper than %d levels", what, maxDepth)
	}
	if errors.Is(err, document.ErrNotObject) {
		return read, fault.New(fault.ArgumentInvalid, "%s must be a JSON object", what)
	}
	if err != nil {
		return read, fault.New(fault.ArgumentInvalid, "%s: %v", what, err)
	}
	read.Delete(versionName, metadataName)
	return read, nil
}

// merge merges a patch into the properties and notes when each was touched. The
// version grows by one. marked adds $lastUpdatedVersion, which desired properties
// have. replace drops what was there first.
func (s *section) merge(limits sectionLimits, patch document.Object, replace bool, now time.Time, marked bool) error {
	if err := checkValues(limits.name, patch); err != nil {
		return err
	}
	before := sizeOf(s.Properties, s.Metadata)
	if replace {
		s.Properties, s.Metadata = document.Object{}, document.Object{}
	}
	s.Version++
	s.Properties.Merge(patch)
	var mark document.Object
	mark.Set(lastUpdated, document.TextOf(document.FormatTime(now)))
	if marked {
		mark.Set(lastVersion, document.IntegerOf(s.Version))
	}
	touch(&s.Metadata, patch, mark)
	return limits.fit(&s.Properties, s.Metadata, before)
}

// touch marks metadata for all that a patch names. Metadata has the order of the
// properties, after the marks.
func touch(metadata *document.Object, patch, mark document.Object) {
	metadata.Merge(mark)
	deletes := false
	for name, value := range patch.All() {
		if value.Kind() == document.KindNull {
			deletes = true
			continue
		}
		var inner document.Object
		if value.Kind() == document.KindObject {
			inner = metadata.Get(name).Object().Clone()
		}
		touch(&inner, value.Object(), mark)
		metadata.Set(name, document.ValueOf(inner))
	}
	if deletes {
		metadata.DeleteFunc(func(name string, _ document.Value) bool {
			return mark.Get(name).Kind() == document.KindAbsent && patch.Get(name).Kind() == document.KindNull
		})
	}
}
