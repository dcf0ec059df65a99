package provisioningcmd

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/provisioning/enroll"
)

// TestEmptyHubNames refuses a list of hubs with a name that is empty, before the server is
// asked for anything. An empty list is every hub.
func TestEmptyHubNames(t *testing.T) {
	for list, says := range map[string]string{"berth,,east": "empty name", "berth,": "empty name", ", ": "empty name",
		"": ""} {
		flags, command := new(allocationFlags), new(cobra.Command)
		flags.flags(command)
		if err := command.Flags().Parse([]string{"--hubs", list}); err != nil {
			t.Fatal(err)
		}
		settings := enroll.Settings{Hubs: []string{"former.example"}}
		err := flags.apply(commands{}, command, &settings)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) ||
			err == nil && settings.Hubs != nil {
			t.Errorf("--hubs %q: %v, %v", list, settings.Hubs, err)
		}
	}
}
