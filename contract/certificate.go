package contract

// CertificateRequest is what a device sends to its hub for another operational
// certificate, on IssueCertificateTopic (Microsoft Learn, iot-mqtt-connect-to-iot-hub).
type CertificateRequest struct {
	ID      string `json:"id"`                // the device's
	CSR     string `json:"csr"`               // base64 of PKCS #10 in DER
	Replace string `json:"replace,omitempty"` // a request under way that it takes the place of: its id, or * for any
}

// CertificateAccepted is the first answer, with status 202: the request is well formed.
type CertificateAccepted struct {
	CorrelationID    string `json:"correlationId"`
	OperationExpires string `json:"operationExpires"` // RFC 3339: when the hub gives up
}

// CertificateIssued is the last answer, with status 200. A refusal is a
// CertificateErrorBody.
type CertificateIssued struct {
	CorrelationID string   `json:"correlationId"`
	Certificates  []string `json:"certificates"` // base64 of DER, the device's own first and the root last
}
