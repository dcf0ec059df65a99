package event

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/berth-iot/berth/document"

	"github.com/berth-iot/berth/store/storetest"
)

func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[pending](t)
	storetest.RoundTrip[position](t)
	storetest.RoundTrip[backlog](t)
}

// TestAppendJSON has an event be stored as it is read.
func TestAppendJSON(t *testing.T) {
	want := pending{TwinUpdated, `d"1\\/m`, "c", document.Time{Time: time.Date(2026, 11, 23, 12, 0, 0, 1500, time.UTC)},
		json.RawMessage(`{"level":1.0}`)}
	var got pending
	if err := json.Unmarshal(want.appendJSON(nil), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("stored is %s, read is %+v, error %v", want.appendJSON(nil), got, err)
	}
}
