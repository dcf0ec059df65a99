package hub_test

import (
	"testing"

	"github.com/berth-iot/berth/hub"
)

// TestDirectory finds hubs by what they are called, in any case, also while others are
// added.
func TestDirectory(t *testing.T) {
	one, other := newFixture(t).Hub.Hub, newFixture(t).Hub.Hub
	d := hub.NewDirectory(one)
	before := d.All()
	d.Add(other)
	if len(before) != 1 || len(d.All()) != 2 || d.All()[1] != other {
		t.Errorf("the hubs are %v, and were %v", d.All(), before)
	}
	for name, found := range map[string]*hub.Hub{
		"its host":                 d.ByHost("hub.local"),
		"its host, in capitals":    d.ByHost("HUB.local"),
		"its host, in full":        d.ByHost("hub.local."),
		"its name":                 d.ByName("test"),
		"its name, with a capital": d.ByName("Test"),
	} {
		if found != one {
			t.Errorf("by %s there is %v", name, found)
		}
	}
	if d.ByHost("") != nil || d.ByHost("hub.local..") != nil ||
		d.ByName("hub.local") != nil || hub.NewDirectory().ByName("test") != nil {
		t.Error("a hub is found that is not there")
	}
}
