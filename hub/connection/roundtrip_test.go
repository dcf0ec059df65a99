package connection

import (
	"testing"

	"github.com/berth-iot/berth/store/storetest"
)

func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[stamp](t)
	storetest.RoundTrip[history](t)
	storetest.RoundTrip[sessionState](t)
	storetest.RoundTrip[answeredRenewal](t)
	storetest.RoundTrip[downlinkRequest](t)
}
