package allocation

import (
	"context"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// checkStatic lets the hub be named later: until then, see Settings.Unplaced, the
// devices are told that there is none.
func checkStatic(settings Settings) error {
	if named := len(settings.Hubs); settings.HubHostName == "" && named > 1 {
		return fault.New(fault.ArgumentInvalid,
			"allocationPolicy static takes one hub, in iotHubs or iotHubHostName, not %d", named)
	}
	return nil
}

func chooseStatic(_ context.Context, _ *Allocator, request Request, hubs []*linkedhub.Linked) (choice, error) {
	return choice{hub: pickWeighted(hubs, request.RegistrationID), reason: fault.Say("static")}, nil
}
