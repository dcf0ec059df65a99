package cli

import (
	"context"
	"crypto/tls"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
)

// inWords is an error as a person reads it: what the libraries of Go say of files, the
// network, certificates and JSON is told in place of their own text.
func inWords(err error) string {
	text := err.Error()
	for inner, words := range translations(err) {
		if inner.unreachable {
			return words // whatever the layers between have put before it
		}
		text = strings.Replace(text, inner.text, words, 1)
	}
	return text
}

// foreign is the text of a library within that of an error.
type foreign struct {
	text        string
	unreachable bool // it says that a server can't be reached
}

// translations returns what the libraries say within an error with the words for it.
// Errors within an error that has words are not looked at.
func translations(err error) map[foreign]string {
	found := make(map[foreign]string)
	var walk func(err error)
	walk = func(err error) {
		if words, unreachable := wordsFor(err); words != "" {
			found[foreign{err.Error(), unreachable}] = words
			return
		}
		switch outer := err.(type) {
		case interface{ Unwrap() error }:
			if inner := outer.Unwrap(); inner != nil {
				walk(inner)
			}
		case interface{ Unwrap() []error }:
			for _, inner := range outer.Unwrap() {
				walk(inner)
			}
		}
	}
	walk(err)
	return found
}

// wordsFor are the words for an error of a library, "" for one that is none.
func wordsFor(err error) (words string, unreachable bool) {
	switch err := err.(type) {
	case *backend.UnreachableError:
		return err.Error(), true
	case *url.Error:
		return "it is not an address such as https://example.com", false
	case *net.OpError:
		if err.Op == "dial" && err.Addr != nil {
			return fmt.Sprintf("cannot reach the server at %s: %s", err.Addr, backend.Reason(err)), true
		}
		return backend.Reason(err), err.Op == "dial"
	case *tls.CertificateVerificationError:
		return backend.Reason(err), false
	case *fs.PathError:
		return fmt.Sprintf("%s: %v", err.Path, err.Err), false
	case *json.SyntaxError:
		return "it is not JSON", false
	case *json.UnmarshalTypeError:
		name, _, _ := strings.Cut(err.Value, " ")
		field := slices.DeleteFunc(strings.Split(err.Field, "."), isGoName)
		if len(field) == 0 || field[0] == "" {
			return "a JSON " + name + " can't be there", false
		}
		return strings.Join(field, ".") + " can't be a JSON " + name, false
	case *strconv.NumError:
		return fmt.Sprintf("%q is not a number", err.Num), false
	case *time.ParseError:
		return fmt.Sprintf("%q is not a time such as 2026-11-23T12:00:00Z", err.Value), false
	case *net.AddrError:
		return fmt.Sprintf("%q is not written host:port", err.Addr), false
	case base64.CorruptInputError:
		return "it is not base64", false
	case hex.InvalidByteError:
		return "it is not hexadecimal", false
	case asn1.StructuralError, asn1.SyntaxError:
		return "it is not DER", false
	}
	switch err {
	case context.DeadlineExceeded, os.ErrDeadlineExceeded, context.Canceled, io.EOF, io.ErrUnexpectedEOF:
		return backend.Reason(err), false
	}
	return "", false
}

// wireNames are the names that the service has for what flags say. A message of the
// service is about what a person wrote, and that were flags.
var wireNames = []struct{ wire, flag string }{
	{"iotHubHostName", "hub"},
	{"iotHubHostName", "hub-host"},
	{"iotHubs", "hubs"},
	{"allocationPolicy", "allocation-policy"},
	{"customAllocationDefinition.webhookUrl", "webhook"},
	{"customAllocationDefinition", "webhook"},
	{"reprovisionPolicy", "reprovision-policy"},
	{"provisioningStatus", "provisioning-status"},
	{"credentialPolicyName", "credential-policy"},
	{"parentDeviceId", "parent"},
	{"initialTwin", "initial-twin"},
	{"deviceId", "device-id"},
	{"attestation.x509.caReferences.primary", "authority"},
	{"attestation.x509.caReferences.secondary", "authority-secondary"},
	{"attestation.x509.clientCertificates.primary", "x509"},
	{"attestation.x509.clientCertificates.secondary", "x509-secondary"},
	{"attestation.x509.clientCertificates", "x509"},
	{"attestation.x509.signingCertificates.primary", "x509"},
	{"attestation.x509.signingCertificates.secondary", "x509-secondary"},
	{"attestation.x509.signingCertificates", "x509"},
	{"attestation.tpm.endorsementKey", "tpm"},
	{"attestation.tpm.storageRootKey", "tpm-storage-root-key"},
	{"allocationWeight", "weight"},
	{"properties.desired", "desired"},
	{"validityMinutes", "validity"},
	{"keyTypes", "key-types"},
	{"dnsNames", "dns-names"},
}

// wireName is a name that is none of the language: with capitals in it, or a path.
var wireName = regexp.MustCompile(`[a-z][A-Za-z0-9]*(?:\.[a-z][A-Za-z0-9]*)*`)

// inFlags is a message of the service in the words of a command: its flags.
func inFlags(command *cobra.Command, message string) string {
	if command == nil {
		return message
	}
	return wireName.ReplaceAllStringFunc(message, func(word string) string {
		for _, name := range wireNames {
			rest, ok := strings.CutPrefix(word, name.wire)
			if ok && (rest == "" || rest[0] == '.') && command.Flags().Lookup(name.flag) != nil {
				return strings.TrimSpace("--" + name.flag + " " + strings.TrimPrefix(rest, "."))
			}
		}
		return word
	})
}

// isGoName reports whether package json has put a name of a Go type that is embedded in
// another into the path of a field. No field in JSON begins with a capital letter.
func isGoName(part string) bool { return part != "" && part[0] >= 'A' && part[0] <= 'Z' }
