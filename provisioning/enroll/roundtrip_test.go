package enroll

import (
	"testing"

	"github.com/berth-iot/berth/store/storetest"
)

func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[Enrollment](t)
	storetest.RoundTrip[StoredGroup](t)
	storetest.RoundTrip[Signer](t)
}
