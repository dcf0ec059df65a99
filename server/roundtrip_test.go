package server

import (
	"testing"

	"github.com/berth-iot/berth/store/storetest"
)

func TestRoundTrip(t *testing.T) { storetest.RoundTrip[hubEntry](t) }
