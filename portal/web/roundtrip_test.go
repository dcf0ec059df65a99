package web

import (
	"testing"

	"github.com/berth-iot/berth/store/storetest"
)

func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[link](t)
	storetest.RoundTrip[session](t)
}
