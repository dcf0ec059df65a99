package exchange

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// Columns are those that CSV may have. Others are refused, so that a misspelt one is
// not lost in silence; those that are missing are empty.
var Columns = []string{
	"registrationId", "deviceId", "provisioningStatus", "attestation",
	"primaryCertificate", "secondaryCertificate", "primaryThumbprint", "secondaryThumbprint",
	"primaryKey", "secondaryKey", "endorsementKey", "storageRootKey",
	"iotEdge", "iotHubHostName", "iotHubs", "allocationPolicy", "webhookUrl", "webhookApiVersion",
	"reprovisionPolicy", "credentialPolicyName", "parentDeviceId", "initialTwin", "optionalDeviceInformation",
}

// toCSV is an enrollment as a row, of which a spreadsheet runs nothing.
func toCSV(e enroll.Enrollment) ([]string, error) {
	row := map[string]string{
		"registrationId":            e.RegistrationID,
		"deviceId":                  e.DeviceID,
		"provisioningStatus":        string(e.ProvisioningStatus),
		"attestation":               e.Attestation.Type,
		"iotHubHostName":            e.HubHostName,
		"iotHubs":                   strings.Join(e.Hubs, " "),
		"allocationPolicy":          string(e.AllocationPolicy),
		"credentialPolicyName":      e.CredentialPolicyName,
		"parentDeviceId":            e.ParentDeviceID,
		"optionalDeviceInformation": string(e.OptionalDeviceInformation),
	}
	if x := e.Attestation.X509; x != nil && x.ClientCertificates != nil {
		for name, certificate := range map[string]*enroll.X509Certificate{
			"primaryThumbprint":   x.ClientCertificates.Primary,
			"secondaryThumbprint": x.ClientCertificates.Secondary,
		} {
			if certificate != nil && certificate.Info != nil {
				row[name] = certificate.Info.SHA256Thumbprint
			}
		}
	}
	if keys := e.Attestation.SymmetricKey; keys != nil {
		row["primaryKey"], row["secondaryKey"] = keys.PrimaryKey, keys.SecondaryKey
	}
	if tpm := e.Attestation.TPM; tpm != nil {
		row["endorsementKey"], row["storageRootKey"] = tpm.EndorsementKey, tpm.StorageRootKey
	}
	if e.Capabilities != nil && e.Capabilities.IoTEdge {
		row["iotEdge"] = "true"
	}
	if custom := e.CustomAllocationDefinition; custom != nil {
		row["webhookUrl"], row["webhookApiVersion"] = custom.WebhookURL, custom.APIVersion
	}
	if policy := e.ReprovisionPolicy; policy != nil {
		if row["reprovisionPolicy"] = policy.Name(); *policy != enroll.ReprovisionPolicies[policy.Name()] {
			whole, err := document.Marshal(policy) // it has no name
			if err != nil {
				return nil, err
			}
			row["reprovisionPolicy"] = string(whole)
		}
	}
	if e.InitialTwin != nil {
		twin, err := document.Marshal(e.InitialTwin)
		if err != nil {
			return nil, err
		}
		row["initialTwin"] = string(twin)
	}
	cells := make([]string, len(Columns))
	for i, column := range Columns {
		cells[i] = asText(row[column])
	}
	return cells, nil
}

// mechanisms are the columns that say how a device proves itself, by the attestation that
// has them.
var mechanisms = map[string][]string{
	enroll.X509:         {"primaryCertificate", "secondaryCertificate", "primaryThumbprint", "secondaryThumbprint"},
	enroll.SymmetricKey: {"primaryKey", "secondaryKey"},
	enroll.TPM:          {"endorsementKey", "storageRootKey"},
}

// leftOut returns the columns of a row whose cells there is no place for: those of
// another attestation, and what belongs to another cell that is empty or says more.
func leftOut(row map[string]string, attestation string) (columns []string) {
	if _, known := mechanisms[attestation]; !known {
		return nil // the row is refused
	}
	for _, column := range Columns {
		idle := column == "webhookApiVersion" && row["webhookUrl"] == "" ||
			column == "primaryThumbprint" && row["primaryCertificate"] != "" ||
			column == "secondaryThumbprint" && row["secondaryCertificate"] != ""
		for kind, own := range mechanisms {
			idle = idle || kind != attestation && slices.Contains(own, column)
		}
		if idle && row[column] != "" {
			columns = append(columns, column)
		}
	}
	return columns
}

// fromCSV is a row as an enrollment, and the cells and members of its twin that there is
// no place for. Words of the contract are taken in any case, as the service takes them.
func fromCSV(row map[string]string) (e enroll.Enrollment, unknown []string, err error) {
	status := enroll.ProvisioningStatus(row["provisioningStatus"])
	e = enroll.Enrollment{
		RegistrationID: row["registrationId"],
		DeviceID:       row["deviceId"],
		Settings: enroll.Settings{
			HubHostName:          row["iotHubHostName"],
			ProvisioningStatus:   enroll.Canonical(status, enroll.Enabled, enroll.Disabled),
			AllocationPolicy:     allocation.ParsePolicy(row["allocationPolicy"]),
			Hubs:                 strings.Fields(row["iotHubs"]),
			CredentialPolicyName: row["credentialPolicyName"],
			ParentDeviceID:       row["parentDeviceId"],
		},
	}
	e.Attestation.Type = typeOf(cmp.Or(row["attestation"], enroll.X509))
	unknown = leftOut(row, e.Attestation.Type)
	switch e.Attestation.Type {
	case enroll.X509:
		e.Attestation.X509 = &enroll.X509Attestation{ClientCertificates: &enroll.X509Certificates{
			Primary:   certificateOf(row["primaryCertificate"], row["primaryThumbprint"]),
			Secondary: certificateOf(row["secondaryCertificate"], row["secondaryThumbprint"])}}
	case enroll.SymmetricKey:
		e.Attestation.SymmetricKey = &enroll.SymmetricKeyAttestation{PrimaryKey: row["primaryKey"],
			SecondaryKey: row["secondaryKey"]}
	case enroll.TPM:
		e.Attestation.TPM = &enroll.TPMAttestation{EndorsementKey: row["endorsementKey"],
			StorageRootKey: row["storageRootKey"]}
	}
	if text := row["iotEdge"]; text != "" {
		edge, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return e, nil, fault.New(fault.ArgumentInvalid, "iotEdge must be true or false, not %.32q", text)
		}
		e.Capabilities = &enroll.Capabilities{IoTEdge: edge}
	}
	if address := row["webhookUrl"]; address != "" {
		e.CustomAllocationDefinition = &allocation.CustomDefinition{
			WebhookURL: address,
			APIVersion: row["webhookApiVersion"],
		}
	}
	if name := row["reprovisionPolicy"]; name != "" {
		policy, ok := enroll.ReprovisionPolicies[strings.ToLower(name)]
		if strings.HasPrefix(name, "{") && CheckJSON([]byte(name)) == nil {
			var members []string
			policy, members, err = decode[enroll.ReprovisionPolicy]([]byte(name))
			ok = err == nil
			for _, member := range members {
				unknown = append(unknown, "reprovisionPolicy."+member)
			}
		}
		if !ok {
			return e, nil, fault.New(fault.ArgumentInvalid,
				"reprovisionPolicy must be migrate, reset or never, not %.32q", name)
		}
		e.ReprovisionPolicy = &policy
	}
	if text := row["initialTwin"]; text != "" {
		if document.CheckDepth([]byte(text), maxRowDepth) != nil {
			return e, nil, fault.New(fault.BadFormat, "initialTwin is nested deeper than %d levels", maxRowDepth)
		}
		if err := CheckJSON([]byte(text)); err != nil {
			return e, nil, fault.New(fault.BadFormat, "initialTwin can't be taken. %v", fault.ReasonOf(err))
		}
		var members []string
		if e.InitialTwin, members, err = decode[*linkedhub.InitialTwin]([]byte(text)); err != nil {
			return e, nil, fault.New(fault.BadFormat,
				"initialTwin is not the JSON of a twin, {\"tags\":{…},\"properties\":{\"desired\":{…}}}")
		}
		for _, member := range members {
			unknown = append(unknown, "initialTwin."+member)
		}
	}
	if text := row["optionalDeviceInformation"]; text != "" {
		e.OptionalDeviceInformation = []byte(text)
		if document.CheckDepth(e.OptionalDeviceInformation, document.MaxFreeDepth) != nil {
			return e, nil, fault.New(fault.BadFormat, "optionalDeviceInformation is nested deeper than %d levels",
				document.MaxFreeDepth)
		}
		if err := CheckJSON(e.OptionalDeviceInformation); err != nil {
			return e, nil, fault.New(fault.BadFormat, "optionalDeviceInformation can't be taken. %v",
				fault.ReasonOf(err))
		}
	}
	return e, unknown, nil
}

// typeOf is the type of an attestation as the contract spells it.
func typeOf(name string) string {
	return enroll.Canonical(name, enroll.X509, enroll.SymmetricKey, enroll.TPM)
}

// certificateOf is a certificate by its text or, without one, by its thumbprint.
func certificateOf(text, thumbprint string) *enroll.X509Certificate {
	switch {
	case text != "":
		return &enroll.X509Certificate{Certificate: text}
	case thumbprint != "":
		return &enroll.X509Certificate{Info: &credential.X509CertificateInfo{SHA256Thumbprint: thumbprint}}
	}
	return nil
}

func readCSV(reader io.Reader, each func(Row[enroll.Enrollment]) error) error {
	buffered, err := open(reader, CSV)
	if err != nil {
		return err
	}
	bounded := &boundedReader{Reader: buffered}
	lines := csv.NewReader(bounded)
	lines.Comma = separator(buffered)
	lines.FieldsPerRecord = -1
	lines.ReuseRecord = true
	header, err := lines.Read()
	if err == io.EOF {
		return fault.New(fault.BadFormat,
			"The file is empty. The first line of CSV names the columns, such as registrationId")
	}
	if err != nil {
		return quoteError(err)
	}
	if slices.ContainsFunc(header, func(name string) bool { return !utf8.ValidString(name) }) {
		return fault.New(fault.BadFormat, "The header is not UTF-8. Save the file as CSV UTF-8")
	}
	columns, err := columnsOf(header)
	if err != nil {
		return err
	}
	for {
		cells, err := lines.Read()
		if err == io.EOF {
			return nil
		}
		bounded.next()
		row := Row[enroll.Enrollment]{}
		var parsing *csv.ParseError
		switch {
		case errors.As(err, &parsing):
			row.Line, row.Err = parsing.StartLine, quoteError(err)
		case err != nil:
			return err
		case !slices.ContainsFunc(cells, func(cell string) bool { return strings.TrimSpace(cell) != "" }):
			continue // spreadsheets leave such lines at the end
		case len(cells) > len(columns):
			row.Line, _ = lines.FieldPos(0)
			row.Err = fault.New(fault.BadFormat, "It has %d fields, the header has %d", len(cells), len(columns))
		default:
			row.Line, _ = lines.FieldPos(0)
			values := make(map[string]string, len(cells))
			for i, cell := range cells {
				values[columns[i]] = fromText(cell)
			}
			notUTF8 := func(cell string) bool { return !utf8.ValidString(cell) }
			if broken := slices.IndexFunc(cells, notUTF8); broken >= 0 {
				// Excel's plain CSV is in the encoding of its country.
				row.Item.RegistrationID = strings.ToValidUTF8(values["registrationId"], "?")
				row.Err = fault.New(fault.BadFormat, "%s is not UTF-8. Save the file as CSV UTF-8", columns[broken])
				break
			}
			row.Item, row.Unknown, row.Err = fromCSV(values)
		}
		if err := each(row); err != nil {
			return err
		}
	}
}

// separator is what stands between the fields: spreadsheets write what their
// country is used to.
func separator(reader *bufio.Reader) rune {
	header, _ := reader.Peek(reader.Size()) // less when the file has less
	header, _, _ = bytes.Cut(header, []byte("\n"))
	for _, other := range ";\t" {
		if !bytes.ContainsRune(header, ',') && bytes.ContainsRune(header, other) {
			return other
		}
	}
	return ','
}

func columnsOf(header []string) ([]string, error) {
	columns := make([]string, len(header))
	for i, name := range header {
		j := slices.IndexFunc(Columns, func(known string) bool {
			return strings.EqualFold(known, strings.TrimSpace(name))
		})
		if j < 0 {
			return nil, fault.New(fault.BadFormat, "There is no column %.64q. Possible are: %s",
				name, strings.Join(Columns, ", "))
		}
		if slices.Contains(columns, Columns[j]) {
			return nil, fault.New(fault.BadFormat, "The column %s is there twice", Columns[j])
		}
		columns[i] = Columns[j]
	}
	if !slices.Contains(columns, "registrationId") {
		return nil, fault.New(fault.BadFormat, "The column registrationId is missing")
	}
	return columns, nil
}

// quoteError says what is wrong with quotes, and how many lines were taken for one
// field because of it.
func quoteError(err error) error {
	var parsing *csv.ParseError
	if errors.As(err, &parsing) && parsing.Line > parsing.StartLine {
		return fault.New(fault.BadFormat,
			"A quote is not closed, so that all up to line %d was taken for this row. "+
				"A quote within a field is written twice, and such a field stands in quotes", parsing.Line)
	}
	return fault.New(fault.BadFormat,
		"A quote stands where none may be. A quote within a field is written twice, and such a field stands in quotes")
}
