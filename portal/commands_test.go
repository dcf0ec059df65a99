package portal

import (
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/berth-iot/berth/portal/web"
)

// Commands to copy are for the data folder of this server, unless they find it without.
func TestCommandsDataFolder(t *testing.T) {
	pages := []string{"quickstart", "registrations", "enrollments", "groups", "hubs/berth/devices", "networks",
		"lockouts", "misbehaviours", "certificates", "enrollments/exchange", "groups/exchange", "check"}
	command := regexp.MustCompile(`(?m)(?:<code>|^)(berth [a-z]+ [^\n<]*)`)
	for _, flag := range []string{"", " --data '/srv/berth data'"} {
		b := newFixture(t, func(c *Config) { c.DataFlag = flag }).loggedIn(web.Operator)
		found := 0
		for _, path := range pages {
			_, page := b.Get(path)
			for _, line := range command.FindAllStringSubmatch(html.UnescapeString(page), -1) {
				found++
				want := flag != "" && !strings.HasPrefix(line[1], "berth cert device")
				if got := strings.HasSuffix(line[1], " --data '/srv/berth data'"); got != want {
					t.Errorf("%s has the command %s", path, line[1])
				}
			}
		}
		if found < 15 {
			t.Errorf("%d commands are found", found)
		}
	}
}
