package device

import (
	"encoding/json"

	"github.com/berth-iot/berth/contract"
)

// answer does a method and says what came of it. Of an answer that is lost with the
// connection the caller learns there.
func (c *Client) answer(name, requestID string, payload json.RawMessage) {
	status, answer := c.method(name, payload)
	c.mqtt.Publish(contract.MethodAnswers.Topic(status, requestID), answer, 1, nil)
}
