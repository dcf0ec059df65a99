package issuance

import (
	"testing"

	"github.com/berth-iot/berth/store/storetest"
)

func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[Policy](t)
	storetest.RoundTrip[storedAuthority](t)
	storetest.RoundTrip[Certificate](t)
}
