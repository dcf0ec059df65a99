package snapshot

import (
	"testing"

	"github.com/berth-iot/berth/store/storetest"
)

func TestRoundTrip(t *testing.T) { storetest.RoundTrip[Snapshot](t) }
