package device

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/berth-iot/berth/contract"
)

// RenewCertificate asks the hub for a new operational certificate: csr is PKCS #10
// in DER with the registration id as its common name. It returns the chain in DER,
// the device's own first and the root last. The connection goes on with the
// certificate it has; the new one is for the next. A refusal is a *fault.Error.
func (c *Client) RenewCertificate(ctx context.Context, csr []byte) (chain [][]byte, err error) {
	if err := c.listenForCertificates(ctx); err != nil {
		return nil, err
	}
	body, err := json.Marshal(contract.CertificateRequest{ID: c.deviceID, CSR: base64.StdEncoding.EncodeToString(csr)})
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	reply, err := c.renewed.ask(ctx, c.mqtt, contract.IssueCertificateTopic, "", body)
	if err != nil {
		return nil, err
	}
	var issued contract.CertificateIssued
	if err := json.Unmarshal(reply.body, &issued); err != nil || len(issued.Certificates) == 0 {
		return nil, fmt.Errorf("read the issued certificates: %.200s", reply.body)
	}
	return decodeChain(issued.Certificates)
}

// decodeChain reads a chain of certificates in base64 of DER.
func decodeChain(encoded []string) (chain [][]byte, _ error) {
	for _, certificate := range encoded {
		der, err := base64.StdEncoding.DecodeString(certificate)
		if err != nil {
			return nil, fmt.Errorf("read the issued certificates: %w", err)
		}
		chain = append(chain, der)
	}
	return chain, nil
}

// listenForCertificates subscribes to their answers, once.
func (c *Client) listenForCertificates(ctx context.Context) error {
	c.credentials.Lock()
	defer c.credentials.Unlock()
	if c.listening {
		return nil
	}
	if err := subscribe(ctx, c.mqtt, contract.CertificateAnswers.Filter()); err != nil {
		return err
	}
	c.listening = true
	return nil
}
