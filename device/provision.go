package device

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/wire/mqtt"
)

// ProvisioningOptions say who registers, and where.
type ProvisioningOptions struct {
	Host           string // host, or host:port; the ports are 8883, or 443 for WebSocket
	IDScope        string
	RegistrationID string
	Certificate    *tls.Certificate
	RootCAs        *x509.CertPool // trusted authorities; the system's when nil
	WebSocket      bool
	Payload        json.RawMessage // custom data, optional

	// OnAssigning, if not nil, is told of each answer that is not final, and how
	// long the client now waits.
	OnAssigning func(operationID string, wait time.Duration)
}

// Result is the end of a registration.
type Result struct {
	OperationID       string            `json:"operationId"`
	Status            string            `json:"status"`
	RegistrationState RegistrationState `json:"registrationState"`
}

// RegistrationState is what the service says of the device.
type RegistrationState struct {
	RegistrationID      string          `json:"registrationId"`
	DeviceID            string          `json:"deviceId"`
	AssignedHub         string          `json:"assignedHub"`
	Status              string          `json:"status"`
	Substatus           string          `json:"substatus"`
	CreatedDateTime     time.Time       `json:"createdDateTimeUtc"`
	LastUpdatedDateTime time.Time       `json:"lastUpdatedDateTimeUtc"`
	ETag                string          `json:"etag"`
	Payload             json.RawMessage `json:"payload,omitempty"`
	ErrorCode           int             `json:"errorCode,omitempty"`
	ErrorMessage        string          `json:"errorMessage,omitempty"`
}

// defaultWait is how long to wait before asking again when the service does not
// say.
const defaultWait = 2 * time.Second

// Provision registers a device and waits until it is assigned. A refusal, and an
// assignment that failed, are returned as a *fault.Error.
func Provision(ctx context.Context, o ProvisioningOptions) (Result, error) {
	asked := newRequests("$dps/registrations/res/")
	to := endpoint{o.Host, o.Certificate, o.RootCAs, o.WebSocket}
	client, err := to.dial(ctx, mqtt.Connect{
		ClientID: o.RegistrationID, CleanSession: true, KeepAlive: 60,
		Username: o.IDScope + "/registrations/" + o.RegistrationID + "/api-version=2019-03-31&ClientVersion=" + url.QueryEscape(clientVersion),
	}, func(topic string, payload []byte) { asked.receive(topic, payload) })
	if err != nil {
		return Result{}, err
	}
	defer client.Disconnect() // what matters has been said by then
	if err := subscribe(ctx, client, "$dps/registrations/res/#"); err != nil {
		return Result{}, err
	}
	body, err := json.Marshal(struct {
		RegistrationID string          `json:"registrationId"`
		Payload        json.RawMessage `json:"payload,omitempty"`
	}{o.RegistrationID, o.Payload})
	if err != nil {
		return Result{}, fmt.Errorf("encode the payload: %w", err)
	}
	got, err := asked.ask(ctx, client, "$dps/registrations/PUT/iotdps-register/", "", body)
	for {
		var result Result
		if result, err = readResult(got, err); err != nil || result.Status != "assigning" {
			return result, err
		}
		if err := o.wait(ctx, result, got); err != nil {
			return Result{}, err
		}
		got, err = asked.ask(ctx, client, "$dps/registrations/GET/iotdps-get-operationstatus/", "&operationId="+result.OperationID, nil)
	}
}

// subscribe subscribes to what the service answers on.
func subscribe(ctx context.Context, client *mqtt.Client, filter string) error {
	codes, err := client.Subscribe(ctx, mqtt.Subscription{Filter: filter, QoS: subscriptionQoS})
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", filter, err)
	}
	if codes[0] == mqtt.Refused {
		return fmt.Errorf("subscribe to %s: the service refuses it", filter)
	}
	return nil
}

func readResult(got answer, err error) (result Result, _ error) {
	if err != nil {
		return result, err
	}
	if err := json.Unmarshal(got.body, &result); err != nil {
		return result, fmt.Errorf("read the answer of the provisioning service: %w", err)
	}
	switch state := result.RegistrationState; result.Status {
	case "assigned", "assigning":
		return result, nil
	case "failed":
		return result, &fault.Error{Code: fault.Code(state.ErrorCode), Message: state.ErrorMessage}
	}
	return result, errors.New("the provisioning service answers with the status " + strconv.Quote(result.Status))
}

func (o ProvisioningOptions) wait(ctx context.Context, result Result, got answer) error {
	wait := got.retryAfter()
	if wait <= 0 {
		wait = defaultWait
	}
	if o.OnAssigning != nil {
		o.OnAssigning(result.OperationID, wait)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
