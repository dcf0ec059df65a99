// Package method carries direct methods: a back end calls one by its name, the device
// does it and answers, and the caller waits (Microsoft Learn,
// iot-hub-devguide-direct-methods). Nothing of a call is stored: it is over with the one
// who waits, or with the connection of the device.
package method

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// MaxPayload is the size of the largest payload in bytes, of a call and of its answer.
const MaxPayload = 128 << 10

// How long a caller may wait.
const (
	DefaultResponseTimeout = 30 * time.Second // of who does not say
	MinResponseTimeout     = 5 * time.Second
	MaxTimeout             = 300 * time.Second // for the response, and for the device to connect
)

// What may be under way at once with one device.
const (
	MaxCalls     = 512
	maxCallBytes = 512 << 10 // of payloads; one call may always be
)

// maxName is the length of the longest name of a method.
const maxName = 100

// Call is a method that a device is asked to do.
type Call struct {
	Name    string
	Payload json.RawMessage // any JSON; nil is null

	ConnectTimeout  time.Duration // how long to wait for a device that is not online; 0 not at all
	ResponseTimeout time.Duration // how long the device has to answer; see DefaultResponseTimeout
}

// Answer is what a device says to a call.
type Answer struct {
	Status  int             // the device's own, whatever it means by it
	Payload json.RawMessage // any JSON, null when the device sent nothing
}

// Check returns the fault with which Invoke refuses what can't be a call: 400004, 400005 or
// 413001.
func (c Call) Check() error {
	_, err := c.complete()
	return err
}

// complete checks a call, and puts null in the place of no payload.
func (c Call) complete() (Call, error) {
	if err := checkName(c.Name); err != nil {
		return c, err
	}
	if c.ResponseTimeout < MinResponseTimeout || c.ResponseTimeout > MaxTimeout {
		return c, fault.New(fault.ArgumentInvalid, "responseTimeoutInSeconds must be %d to %d, not %d",
			seconds(MinResponseTimeout), seconds(MaxTimeout), seconds(c.ResponseTimeout))
	}
	if c.ConnectTimeout < 0 || c.ConnectTimeout > MaxTimeout {
		return c, fault.New(fault.ArgumentInvalid, "connectTimeoutInSeconds must be 0 to %d, not %d",
			seconds(MaxTimeout), seconds(c.ConnectTimeout))
	}
	if c.ConnectTimeout > c.ResponseTimeout {
		return c, fault.New(fault.ArgumentInvalid,
			"connectTimeoutInSeconds is %d, and may not be more than responseTimeoutInSeconds, which is %d",
			seconds(c.ConnectTimeout), seconds(c.ResponseTimeout))
	}
	if len(c.Payload) == 0 {
		c.Payload = null
	}
	if len(c.Payload) > MaxPayload {
		return c, fault.New(fault.MessageTooLarge, "The payload has %d bytes, and %d are allowed", len(c.Payload),
			MaxPayload)
	}
	if err := checkPayload(c.Payload); err != nil {
		return c, fault.New(fault.ArgumentInvalid, "The payload must be JSON: %v", err)
	}
	return c, nil
}

var null = json.RawMessage("null")

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// checkName returns fault 400005 for no name, and 400004 for one that the topic of a call
// can't hold as it is: not every client decodes it there.
func checkName(name string) error {
	if name == "" {
		return fault.New(fault.ArgumentNull, "The call has no methodName")
	}
	if len(name) > maxName {
		return fault.New(fault.ArgumentInvalid, "methodName has %d characters, and %d are allowed", len(name), maxName)
	}
	for _, r := range name {
		if r <= ' ' || r > '~' || strings.ContainsRune("/%+#", r) {
			return fault.New(fault.ArgumentInvalid,
				"methodName has the character %q. Visible ASCII is allowed, but for / %% + #", r)
		}
	}
	return nil
}

// checkPayload returns what keeps a payload from being put into other JSON and read by
// everybody.
func checkPayload(payload []byte) error {
	if err := document.CheckDepth(payload, document.MaxDepth-1); err != nil {
		return err
	}
	if err := document.CheckText(payload); err != nil {
		return err
	}
	if !json.Valid(payload) {
		return document.Syntax(payload)
	}
	return document.CheckNumbers(payload)
}

// notOnline is the refusal of a call to a device that did not come in time.
func notOnline(deviceID string, waited time.Duration) error {
	problem := fault.New(fault.DeviceNotOnline,
		"The device %.128q is not online: it is not connected, or has not subscribed to methods. "+
			"connectTimeoutInSeconds waits for it", deviceID)
	s := seconds(waited)
	return fault.Note(problem, "timeout", fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60))
}

// tooMany is the refusal of a call to a device that has as many as it may.
func tooMany(deviceID string) error {
	return fault.New(fault.TooManyCalls,
		"The device %.128q has as many calls under way as it may. Repeat this one when others are answered", deviceID)
}

// unanswered is what a caller gets whose time is over.
func unanswered(deviceID string, call Call) error {
	return fault.New(fault.GatewayTimeout, "The device %.128q did not answer the method %q within %d seconds",
		deviceID, call.Name, seconds(call.ResponseTimeout))
}
