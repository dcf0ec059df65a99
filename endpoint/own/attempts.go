package own

import (
	"strconv"

	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/attempts"
)

// oneAttempt is an attempt with all that its judgement depended on.
func (s *service) oneAttempt(c *https.Call) (any, error) {
	sequence, err := strconv.ParseInt(c.Parameter("sequence"), 10, 64)
	if err != nil {
		return nil, fault.New(fault.ArgumentInvalid, "The sequence of an attempt is a number, not %.32q",
			c.Parameter("sequence"))
	}
	attempt, err := s.Provisioning.Attempts().Get(c.Context(), sequence)
	return attempt, err
}

// ChainBody is a chain that somebody wants to be judged.
type ChainBody struct {
	Certificates   string `json:"certificates"`   // PEM, the device's own first
	RegistrationID string `json:"registrationId"` // the common name of the first one when empty
}

// checkChain judges a chain before any device comes with it.
func (s *service) checkChain(c *https.Call) (any, error) {
	var asked ChainBody
	if err := c.Decode(&asked); err != nil {
		return nil, err
	}
	decision, err := s.Provisioning.CheckChain(c.Context(), []byte(asked.Certificates), asked.RegistrationID)
	return decision, err
}

func (s *service) listAttempts(c *https.Call) (any, error) {
	limit, err := c.Number("max", c.Query("max"), https.DefaultPage, https.MaxPage)
	if err != nil {
		return nil, err
	}
	refused, err := c.Flag("refused")
	if err != nil {
		return nil, err
	}
	return s.Provisioning.Attempts().Find(c.Context(), attempts.Filter{
		RegistrationID: c.Query("registrationId"), Refused: refused, Max: limit})
}
