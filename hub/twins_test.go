package hub_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/hub/identity"
)

func TestTwinsInPages(t *testing.T) {
	h := newFixture(t)
	for i := range 5 {
		id := fmt.Sprintf("d%d", i)
		if _, err := h.CreateDevice(ctx, identity.Device{DeviceID: id}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.PatchTwin(ctx, id, []byte(fmt.Sprintf(`{"tags":{"n":%d}}`, i)), ""); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	for after, pages := "", 0; ; pages++ {
		twins, next, err := h.Twins(ctx, after, 2)
		if err != nil || len(twins) > 2 || pages > 5 {
			t.Fatalf("page %d has %d twins, error %v", pages, len(twins), err)
		}
		for i, twin := range twins {
			text, err := json.Marshal(twin)
			if want := fmt.Sprintf(`"tags":{"n":%d}`, len(seen)); err != nil || !strings.Contains(string(text),
				want) || twin.Status != "enabled" || twin.ETag == "" {
				t.Errorf("twin %d of page %d is %s, error %v, want %s", i, pages, text, err, want)
			}
			seen = append(seen, twin.DeviceID)
		}
		if after = next; next == "" {
			break
		}
	}
	if !slices.Equal(seen, []string{"d0", "d1", "d2", "d3", "d4"}) {
		t.Errorf("the twins are those of %v", seen)
	}
}
