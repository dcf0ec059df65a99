package device

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/wire/mqtt"
)

// ProvisioningOptions say who registers, and where.
type ProvisioningOptions struct {
	Host           string // host, or host:port; the ports are 8883, or 443 for WebSocket and with a TPM
	IDScope        string
	RegistrationID string
	Certificate    *tls.Certificate // for an enrollment with X.509 attestation
	SASKey         string           // base64, for one with a symmetric key; in a group, the device's derived key
	TPM            *TPM             // for one with a TPM instead, over HTTPS; it holds the key of the hub in the end
	Token          string           // a shared access signature in place of SASKey, sent as it is
	RootCAs        *x509.CertPool   // trusted authorities; the system's when nil
	WebSocket      bool
	Payload        json.RawMessage // custom data, optional
	CSR            []byte          // PKCS #10 in DER: asks for an operational certificate, optional

	// OnAssigning, if not nil, is told of each answer that is not final, and how
	// long the client now waits.
	OnAssigning func(operationID string, wait time.Duration)
}

// Registration is what the service answers to a registration.
type Registration struct {
	OperationID       string
	Status            contract.RegistrationStatus // assigned, when there was no error
	RegistrationState *RegistrationState          // not nil then
}

// RegistrationState is what the service says of the device.
type RegistrationState struct {
	contract.DeviceRegistration
	IssuedCertificateChain [][]byte // DER, the device's own first and the root last; what CSR asked for
}

// provisioningVersion is the version of the contract that registering asks for.
const provisioningVersion = "2019-03-31"

// defaultWait is how long to wait before asking again when the service does not
// say.
const defaultWait = 2 * time.Second

// Provision registers a device and waits until it is assigned. A refusal, and an
// assignment that failed, are returned as a *fault.Error. With an error from the
// time of waiting comes what the service answered last.
func Provision(ctx context.Context, o ProvisioningOptions) (Registration, error) {
	if o.TPM != nil {
		return provisionTPM(ctx, o)
	}
	asked := newRequests(contract.RegistrationAnswers)
	to := endpoint{o.Host, o.Certificate, o.RootCAs, o.WebSocket}
	connect := mqtt.Connect{
		ClientID: o.RegistrationID, CleanSession: true, KeepAlive: 60,
		Username: contract.ProvisioningName{IDScope: o.IDScope, RegistrationID: o.RegistrationID,
			APIVersion: provisioningVersion}.Username(clientVersion),
	}
	if o.SASKey != "" {
		token, err := credential.NewToken(o.resource(), "registration", o.SASKey, time.Now().Add(tokenLifetime))
		if err != nil {
			return Registration{}, fmt.Errorf("make the token of %s: %w", o.RegistrationID, err)
		}
		connect.Password, connect.HasPassword = []byte(token), true
	}
	if o.Token != "" {
		connect.Password, connect.HasPassword = []byte(o.Token), true
	}
	client, err := to.dial(ctx, connect, func(topic string, payload []byte) { asked.receive(topic, payload) })
	if err != nil {
		return Registration{}, err
	}
	defer client.Disconnect() // what matters has been said by then
	if err := subscribe(ctx, client, contract.RegistrationAnswers.Filter()); err != nil {
		return Registration{}, err
	}
	body, err := json.Marshal(contract.RegistrationRequest{RegistrationID: o.RegistrationID, Payload: o.Payload,
		CSR: o.CSR})
	if err != nil {
		return Registration{}, fmt.Errorf("encode the payload: %w", err)
	}
	got, err := asked.ask(ctx, client, contract.RegisterTopic, "", body)
	for {
		var registration Registration
		registration, err = readRegistration(got, err)
		if err != nil || registration.Status != contract.StatusAssigning {
			return registration, err
		}
		if err := o.wait(ctx, client, registration.OperationID, got.retryAfter()); err != nil {
			return registration, err
		}
		got, err = asked.ask(ctx, client, contract.RegistrationStatusTopic,
			"&operationId="+escape(registration.OperationID), nil)
	}
}

// resource is what the token of the device is for.
func (o ProvisioningOptions) resource() string {
	return credential.RegistrationResource(o.IDScope, o.RegistrationID).String()
}

// subscribe subscribes to one filter, which the server must grant.
func subscribe(ctx context.Context, client *mqtt.Client, filter string) error {
	codes, err := client.Subscribe(ctx, mqtt.Subscription{Filter: filter, QoS: subscriptionQoS})
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", filter, err)
	}
	if len(codes) != 1 || codes[0] == mqtt.Refused {
		return fmt.Errorf("subscribe to %s: the server refuses it", filter)
	}
	return nil
}

func readRegistration(got answer, err error) (registration Registration, _ error) {
	if err != nil {
		return registration, err
	}
	var operation contract.Operation
	if err := json.Unmarshal(got.body, &operation); err != nil {
		return registration, fmt.Errorf("read the answer of the provisioning service: %w", err)
	}
	registration.OperationID, registration.Status = operation.OperationID, operation.Status
	if operation.RegistrationState != nil {
		chain, err := decodeChain(operation.RegistrationState.IssuedCertificateChain)
		if err != nil {
			return registration, err
		}
		registration.RegistrationState = &RegistrationState{*operation.RegistrationState, chain}
	}
	switch state := registration.RegistrationState; {
	case registration.Status == contract.StatusAssigning,
		registration.Status == contract.StatusAssigned && state != nil:
		return registration, nil
	case registration.Status == contract.StatusFailed && state != nil:
		return registration, &fault.Error{Code: fault.Code(state.ErrorCode), Message: state.ErrorMessage}
	}
	return registration, fmt.Errorf("the provisioning service answers with the status %q", string(registration.Status))
}

// wait waits before the device asks again, for as long as ctx and the connection
// last; client is nil without one.
func (o ProvisioningOptions) wait(ctx context.Context, client *mqtt.Client, operationID string,
	wait time.Duration) error {
	if wait <= 0 {
		wait = defaultWait
	}
	if o.OnAssigning != nil {
		o.OnAssigning(operationID, wait)
	}
	var ended <-chan struct{}
	if client != nil {
		ended = client.Ended()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ended:
		return fmt.Errorf("wait for the assignment: %w", client.Err())
	case <-ctx.Done():
		return fmt.Errorf("wait for the assignment: %w", context.Cause(ctx))
	}
}
