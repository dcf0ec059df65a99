package contract

import (
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
)

// What a service writes of a fault, its clients read: whatever the form, the code and
// the message are those of the fault.
func TestRefusalsAreRead(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, code := range fault.Codes() {
		problem := fault.New(code, "What was wrong, what to do")
		problem.TrackingID, problem.Info = "t1", map[string]string{"requestId": "r1"}
		for name, c := range map[string]struct {
			body any
			want Refusal
		}{
			"REST":        {NewErrorBody(problem, now), Refusal{code, problem.Message, "t1", nil}},
			"MQTT":        {NewMQTTErrorBody(problem, now), Refusal{code, problem.Message, "t1", problem.Info}},
			"certificate": {NewCertificateErrorBody(problem, now), Refusal{code, problem.Message, "t1", problem.Info}},
			"challenge": {ChallengeBody{ErrorBody: NewErrorBody(problem, now)},
				Refusal{code, problem.Message, "t1", nil}},
			"method": {NewMethodErrorBody(problem, now), Refusal{code, problem.Message, "t1", problem.Info}},
			"hub":    {NewHubErrorBody(problem, now), Refusal{code, problem.Message, "", nil}},
		} {
			text, err := json.Marshal(c.body)
			if err != nil {
				t.Fatal(err)
			}
			read, ok := ParseRefusal(text)
			if !ok || read.Code != c.want.Code || read.Message != c.want.Message ||
				read.TrackingID != c.want.TrackingID || !maps.Equal(read.Info, c.want.Info) {
				t.Errorf("%d as %s, %s, is read as %+v, %v", int(code), name, text, read, ok)
			}
		}
		if found, ok := CodeOf(code.Name()); !ok || found != code {
			t.Errorf("%s is the code %d, %v", code.Name(), int(found), ok)
		}
	}
}

func TestRefusalsOfOthers(t *testing.T) {
	for text, want := range map[string]Refusal{
		`{"Message":"ErrorCode:Unheard;Of"}`:              {Message: "Of"},
		`{"message":"ErrorCode:DeviceNotFound"}`:          {Message: "ErrorCode:DeviceNotFound"},
		`{"errorCode":400999,"message":"a;b","info":[1]}`: {Code: 400999, Message: "a;b"},
		`{"another":true}`:                                {},
	} {
		if read, ok := ParseRefusal([]byte(text)); !ok || read.Code != want.Code || read.Message != want.Message {
			t.Errorf("%s is read as %+v, %v", text, read, ok)
		}
	}
	for _, text := range []string{"", "<html>", `"text"`, `{"errorCode":"x"}`} {
		if read, ok := ParseRefusal([]byte(text)); ok {
			t.Errorf("%s is read as %+v", text, read)
		}
	}
	if code, ok := CodeOf("Unheard"); ok || errors.Is(fault.New(code, ""), fault.Internal) {
		t.Errorf("a name that is not known is %d", int(code))
	}
}

func TestRetryAfter(t *testing.T) {
	for wait, want := range map[time.Duration]int{
		0: 1, time.Millisecond: 1, time.Second: 1, 1001 * time.Millisecond: 2, time.Minute: 60,
	} {
		if got := RetryAfter(wait); got != want {
			t.Errorf("%v are %d seconds, want %d", wait, got, want)
		}
	}
}
