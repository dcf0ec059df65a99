package mqtt

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/wire/mqtt"
)

// ConnectCode returns what CONNACK says of a refusal: the client may try again (3), or
// must change something (5). Azure uses no other.
func ConnectCode(problem *fault.Error) mqtt.ConnectCode {
	if status := problem.Code.Status(); status == 429 || status >= 500 || problem.Code == fault.ConnectionRejected {
		return mqtt.ServerUnavailable
	}
	return mqtt.NotAuthorized
}

// ErrorBody returns a fault as the answer to a registration or a request for a twin has
// it, in JSON of plain ASCII.
func ErrorBody(problem *fault.Error, now time.Time) []byte {
	body, _ := asciiJSON(contract.NewMQTTErrorBody(problem, now)) // numbers and strings are JSON, whatever they are
	return body
}

// CertificateErrorBody returns a fault as the answer to a request for a certificate has
// it, in JSON of plain ASCII.
func CertificateErrorBody(problem *fault.Error, now time.Time) []byte {
	body, _ := asciiJSON(contract.NewCertificateErrorBody(problem, now))
	return body
}

// retryAfter is the parameter of an answer's topic by which the device waits, "" when it
// need not.
func retryAfter(wait time.Duration) string {
	if wait <= 0 {
		return ""
	}
	return "&retry-after=" + strconv.Itoa(contract.RetryAfter(wait))
}

// asciiJSON encodes a value in JSON of plain ASCII: the Node SDK decodes the
// provisioning service's answers as that.
func asciiJSON(value any) ([]byte, error) {
	encoded, err := document.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("the answer is no JSON: %w", err)
	}
	plain := make([]byte, 0, len(encoded))
	for len(encoded) > 0 {
		r, size := utf8.DecodeRune(encoded)
		encoded = encoded[size:]
		switch {
		case r < utf8.RuneSelf:
			plain = append(plain, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			plain = appendEscape(appendEscape(plain, high), low)
		default:
			plain = appendEscape(plain, r)
		}
	}
	return plain, nil
}

func appendEscape(b []byte, r rune) []byte {
	digits := strconv.FormatInt(int64(r), 16)
	return append(append(append(b, `\u`...), "0000"[len(digits):]...), digits...)
}
