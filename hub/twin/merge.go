package twin

import (
	"time"

	"github.com/berth-iot/berth/document"
)

const (
	metadataName = "$metadata"
	versionName  = "$version"
	lastUpdated  = "$lastUpdated"
	lastVersion  = "$lastUpdatedVersion"
)

// merge merges a patch into the properties and notes when each was updated. The
// version grows by one. marked adds $lastUpdatedVersion, which desired properties
// have. replace drops what was there first.
func (s *Section) merge(limits sectionLimits, patch document.Object, replace bool, now time.Time, marked bool) error {
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
	markUpdated(&s.Metadata, patch, mark)
	return limits.fit(&s.Properties, s.Metadata, before)
}

// markUpdated marks metadata for all that a patch names. Metadata has the order of the
// properties, after the marks.
func markUpdated(metadata *document.Object, patch, mark document.Object) {
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
		markUpdated(&inner, value.Object(), mark)
		metadata.Set(name, document.ValueOf(inner))
	}
	if deletes {
		metadata.DeleteFunc(func(name string, _ document.Value) bool {
			return mark.Get(name).Kind() == document.KindAbsent && patch.Get(name).Kind() == document.KindNull
		})
	}
}
