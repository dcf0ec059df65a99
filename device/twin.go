package device

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/berth-iot/berth/contract"
)

// Twin returns the desired and the reported properties, JSON objects each with
// its $version. A refusal is a *fault.Error.
func (c *Client) Twin(ctx context.Context) (desired, reported json.RawMessage, err error) {
	reply, err := c.askTwin(ctx, contract.TwinTopic, nil)
	if err != nil {
		return nil, nil, err
	}
	var twin struct{ Desired, Reported json.RawMessage }
	if err := json.Unmarshal(reply.body, &twin); err != nil {
		return nil, nil, fmt.Errorf("read the twin: %w", err)
	}
	return twin.Desired, twin.Reported, nil
}

// Report merges a patch, a JSON object where null deletes, into the reported
// properties and returns their new version. A refusal is a *fault.Error.
func (c *Client) Report(ctx context.Context, patch json.RawMessage) (version int64, err error) {
	reply, err := c.askTwin(ctx, contract.ReportedTopic, patch)
	if err != nil {
		return 0, err
	}
	return number(reply.parameters.Get("$version")), nil
}

func (c *Client) askTwin(ctx context.Context, topic string, payload []byte) (answer, error) {
	if err := c.subscribeTwin(ctx); err != nil {
		return answer{}, err
	}
	return c.asked.ask(ctx, c.mqtt, topic, "", payload)
}

// subscribeTwin subscribes to the twin's answers, once.
func (c *Client) subscribeTwin(ctx context.Context) error {
	c.twin.Lock()
	defer c.twin.Unlock()
	if c.subscribed {
		return nil
	}
	if err := subscribe(ctx, c.mqtt, contract.TwinAnswers.Filter()); err != nil {
		return err
	}
	c.subscribed = true
	return nil
}
