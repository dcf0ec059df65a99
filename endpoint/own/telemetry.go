package own

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/telemetry"
)

// streamWriteTimeout is how long a reader of telemetry may take for one message.
const streamWriteTimeout = 30 * time.Second

// followTelemetry streams what devices send.
func followTelemetry(c *https.Call) (any, error) { return follow(c, c.Hub.Telemetry()) }

// followEvents streams what happens to devices.
func followEvents(c *https.Call) (any, error) { return follow(c, c.Hub.Events().Log()) }

// follow streams messages as JSON, one a line, from a point in time on and for as long as
// the client stays, or until max have come.
func follow(c *https.Call, log *telemetry.Log) (any, error) {
	from, err := position(c.Query("from"))
	if err != nil {
		return nil, err
	}
	left, err := c.Number("max", c.Query("max"), 0, 1<<30)
	if err != nil {
		return nil, err
	}
	client := c.Stream("application/x-ndjson")
	controller := http.NewResponseController(client)
	controller.Flush()
	encoder := json.NewEncoder(client)
	encoder.SetEscapeHTML(false) // a body is as its device wrote it
	err = log.Follow(c.Context(), from, c.Query("device"), func(message telemetry.Message) error {
		// A reader may wait for its messages for ever, but not let one wait.
		if err := controller.SetWriteDeadline(time.Now().Add(streamWriteTimeout)); err != nil && !errors.Is(err,
			http.ErrNotSupported) {
			return err
		}
		if err := encoder.Encode(message); err != nil {
			return err
		}
		if err := controller.Flush(); err != nil {
			return err
		}
		if left--; left == 0 {
			return telemetry.ErrStop
		}
		return nil
	})
	if c.Context().Err() != nil {
		return nil, nil // the client has gone, as it must to end this
	}
	return nil, err
}

func position(from string) (telemetry.Position, error) {
	switch from {
	case "", "latest":
		return telemetry.Position{}, nil
	case "earliest":
		return telemetry.Position{Earliest: true}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, from)
	if err != nil {
		return telemetry.Position{}, fault.New(fault.ArgumentInvalid,
			"from must be earliest, latest, or a time such as 2026-11-23T12:00:00Z, not %.64q", from)
	}
	position, ok := telemetry.At(at)
	if !ok {
		return position, fault.New(fault.ArgumentInvalid, "from must be a time of the years 1678 to 2262, not %.64q",
			from)
	}
	return position, nil
}
