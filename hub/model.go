package hub

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// maxModelID is the size of the longest model id in bytes: those of DTDL have 128
// characters, and more with a version.
const maxModelID = 256

var errSameModel = errors.New("the twin has this model id already")

// announceModel keeps the model id of IoT Plug and Play that a device announces when it
// connects (Azure, concepts-developer-guide-device). nil is a device that announces
// none, whose twin stays as it is; "" takes the model away. A twin that can't be read
// keeps nobody from connecting.
func (s *Session) announceModel(ctx context.Context, modelID *string) error {
	if modelID == nil {
		return nil
	}
	_, err := s.hub.updateTwin(ctx, s.deviceID, false, func(t *twin) error {
		if err := s.owns(*t); err != nil {
			return err
		}
		if t.ModelID == *modelID {
			return errSameModel
		}
		t.Generation, t.ModelID, t.Revision = s.generation, *modelID, t.revision()
		t.Version++
		return nil
	})
	if errors.Is(err, errSameModel) || store.IsUnreadable(err) {
		return nil
	}
	return err
}

func checkModelID(id string) error {
	if len(id) > maxModelID {
		return fault.New(fault.ArgumentInvalid, "The model id has %d bytes, the limit is %d", len(id), maxModelID)
	}
	if !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fault.New(fault.ArgumentInvalid,
			"The model id %.64q has a character that does not print. It is one such as dtmi:com:example:Thermostat;1", id)
	}
	return nil
}
