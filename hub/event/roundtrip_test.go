package event

import (
	"testing"

	"github.com/berth-iot/berth/store/storetest"
)

func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[pending](t)
	storetest.RoundTrip[position](t)
}
