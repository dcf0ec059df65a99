package tpm

import (
	"testing"

	"github.com/berth-iot/berth/store/storetest"
)

func TestRoundTrip(t *testing.T) { storetest.RoundTrip[state](t) }
