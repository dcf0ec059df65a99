package device

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
)

// tpmVersion is the version of the contract that registering with a TPM asks for.
const tpmVersion = "2021-06-01"

// maxAnswer bounds an answer of the provisioning service in bytes.
const maxAnswer = 1 << 20

// provisionTPM registers a device with its TPM, for which HTTPS is the only way:
// without authorization first, which earns a challenge, then with a token that
// the TPM signs (Azure, concepts-tpm-attestation). In the end the TPM has the key
// of the device in its hub.
func provisionTPM(ctx context.Context, o ProvisioningOptions) (Registration, error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs}}
	defer transport.CloseIdleConnections()
	client := tpmClient{&http.Client{Transport: transport, Timeout: dialTime}, o, ""}
	body := contract.RegistrationRequest{RegistrationID: o.RegistrationID, Payload: o.Payload,
		TPM: &contract.TPMKeys{EndorsementKey: o.TPM.EndorsementKey(), StorageRootKey: o.TPM.StorageRootKey()}}
	encoded, err := json.Marshal(body)
	if err != nil {
		return Registration{}, fmt.Errorf("encode the payload: %w", err)
	}
	register := contract.RegisterPath.With(o.IDScope, o.RegistrationID)
	got, err := client.ask(ctx, http.MethodPut, register, encoded)
	if err == nil {
		return Registration{}, errors.New("the provisioning service does not challenge the TPM")
	}
	if err := client.answer(got, err); err != nil {
		return Registration{}, err
	}
	got, err = client.ask(ctx, http.MethodPut, register, encoded)
	for {
		var registration Registration
		registration, err = readRegistration(got, err)
		if err == nil && registration.Status == contract.StatusAssigned {
			return registration, o.takeHubKey(registration)
		}
		if err != nil {
			return registration, err
		}
		if err := o.wait(ctx, nil, registration.OperationID, got.retryAfter()); err != nil {
			return registration, err
		}
		got, err = client.ask(ctx, http.MethodGet,
			contract.OperationStatusPath.With(o.IDScope, o.RegistrationID, registration.OperationID), nil)
	}
}

func (o ProvisioningOptions) takeHubKey(registration Registration) error {
	if registration.RegistrationState.TPM == nil {
		return errors.New("the provisioning service gives the TPM no key for its hub")
	}
	return o.TPM.Activate(registration.RegistrationState.TPM.AuthenticationKey)
}

// tpmClient asks the provisioning service over HTTPS.
type tpmClient struct {
	http    *http.Client
	options ProvisioningOptions
	token   string
}

// answer answers the challenge in a refusal.
func (c *tpmClient) answer(got answer, refusal error) error {
	var challenge contract.ChallengeBody
	if got.status != http.StatusUnauthorized || json.Unmarshal(got.body, &challenge) != nil ||
		len(challenge.AuthenticationKey) == 0 {
		return refusal
	}
	if err := c.options.TPM.Activate(challenge.AuthenticationKey); err != nil {
		return err
	}
	token, err := credential.SignToken(c.options.resource(), challenge.KeyName, time.Now().Add(tokenLifetime),
		c.options.TPM.sign)
	c.token = token
	return err
}

// ask makes a request. An answer that is a refusal is returned as *fault.Error.
func (c *tpmClient) ask(ctx context.Context, method string, path contract.Path, body []byte) (answer, error) {
	to := endpoint{host: c.options.Host, webSocket: true} // whose port is that of HTTPS
	address := "https://" + to.address() + string(path) + "?api-version=" + tpmVersion
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("User-Agent", clientVersion)
	if body != nil {
		request.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	if c.token != "" {
		request.Header.Set("Authorization", c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, fmt.Errorf("ask the provisioning service: %w", err)
	}
	defer response.Body.Close()
	got := answer{status: response.StatusCode,
		parameters: url.Values{"retry-after": response.Header.Values("Retry-After")}}
	if got.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer)); err != nil {
		return got, fmt.Errorf("read the answer of the provisioning service: %w", err)
	}
	if got.status >= 300 {
		return got, got.fault()
	}
	return got, nil
}
