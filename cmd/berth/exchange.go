package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// The columns of enrollments as CSV. Others are refused, so that a misspelt one is
// not lost in silence; those that are missing are empty.
var csvColumns = []string{"registrationId", "deviceId", "provisioningStatus", "attestation", "primaryCertificate", "secondaryCertificate",
	"primaryThumbprint", "secondaryThumbprint", "primaryKey", "secondaryKey", "endorsementKey", "storageRootKey", "iotEdge", "iotHubHostName", "iotHubs",
	"allocationPolicy", "webhookUrl", "reprovisionPolicy", "credentialPolicyName", "parentDeviceId", "initialTwin"}

// toCSV is an enrollment as a row.
func toCSV(e provisioning.Enrollment) []string {
	row := map[string]string{
		"registrationId": e.RegistrationID, "deviceId": e.DeviceID, "provisioningStatus": string(e.ProvisioningStatus), "attestation": e.Attestation.Type,
		"iotHubHostName": e.HubHostName, "iotHubs": strings.Join(e.Hubs, " "), "allocationPolicy": string(e.AllocationPolicy),
		"credentialPolicyName": e.CredentialPolicyName, "parentDeviceId": e.ParentDeviceID,
	}
	if x := e.Attestation.X509; x != nil && x.ClientCertificates != nil {
		for name, certificate := range map[string]*provisioning.X509Certificate{"primaryThumbprint": x.ClientCertificates.Primary, "secondaryThumbprint": x.ClientCertificates.Secondary} {
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
	if e.CustomAllocationDefinition != nil {
		row["webhookUrl"] = e.CustomAllocationDefinition.WebhookURL
	}
	for name, policy := range reprovisionPolicies {
		if e.ReprovisionPolicy != nil && *e.ReprovisionPolicy == policy {
			row["reprovisionPolicy"] = name
		}
	}
	if e.InitialTwin != nil {
		row["initialTwin"] = compact(e.InitialTwin)
	}
	cells := make([]string, len(csvColumns))
	for i, column := range csvColumns {
		cells[i] = row[column]
	}
	return cells
}

// fromCSV is a row as an enrollment.
func fromCSV(row map[string]string) (e provisioning.Enrollment, err error) {
	e = provisioning.Enrollment{RegistrationID: row["registrationId"], DeviceID: row["deviceId"], HubHostName: row["iotHubHostName"],
		ProvisioningStatus: provisioning.ProvisioningStatus(row["provisioningStatus"]), AllocationPolicy: provisioning.AllocationPolicy(row["allocationPolicy"]),
		Hubs: strings.Fields(row["iotHubs"]), CredentialPolicyName: row["credentialPolicyName"], ParentDeviceID: row["parentDeviceId"]}
	e.Attestation.Type = cmp.Or(row["attestation"], "x509")
	switch e.Attestation.Type {
	case "x509":
		certificates := &provisioning.X509Certificates{}
		for _, part := range []struct {
			certificate, thumbprint string
			into                    **provisioning.X509Certificate
		}{{row["primaryCertificate"], row["primaryThumbprint"], &certificates.Primary}, {row["secondaryCertificate"], row["secondaryThumbprint"], &certificates.Secondary}} {
			switch {
			case part.certificate != "":
				*part.into = &provisioning.X509Certificate{Certificate: part.certificate}
			case part.thumbprint != "":
				*part.into = &provisioning.X509Certificate{Info: &provisioning.X509CertificateInfo{SHA256Thumbprint: part.thumbprint}}
			}
		}
		e.Attestation.X509 = &provisioning.X509Attestation{ClientCertificates: certificates}
	case "symmetricKey":
		e.Attestation.SymmetricKey = &provisioning.SymmetricKeyAttestation{PrimaryKey: row["primaryKey"], SecondaryKey: row["secondaryKey"]}
	case "tpm":
		e.Attestation.TPM = &provisioning.TPMAttestation{EndorsementKey: row["endorsementKey"], StorageRootKey: row["storageRootKey"]}
	}
	if text := row["iotEdge"]; text != "" {
		edge, err := strconv.ParseBool(text)
		if err != nil {
			return e, fmt.Errorf("iotEdge is %q. It is true or false", text)
		}
		e.Capabilities = &provisioning.Capabilities{IoTEdge: edge}
	}
	if address := row["webhookUrl"]; address != "" {
		e.CustomAllocationDefinition = &provisioning.CustomAllocationDefinition{WebhookURL: address}
	}
	if name := row["reprovisionPolicy"]; name != "" {
		policy, ok := reprovisionPolicies[name]
		if !ok {
			return e, fmt.Errorf("reprovisionPolicy is %q. It is migrate, reset or never", name)
		}
		e.ReprovisionPolicy = &policy
	}
	if text := row["initialTwin"]; text != "" {
		if err := json.Unmarshal([]byte(text), &e.InitialTwin); err != nil {
			return e, fmt.Errorf("initialTwin is not the JSON of a twin: %w", err)
		}
	}
	return e, nil
}

// row is one enrollment of a file, or what is wrong with it.
type row struct {
	place      string // such as line 17
	enrollment provisioning.Enrollment
	err        error
}

// readRows hands over the enrollments of a file, in JSON (an array, or one after the
// other) or CSV. It returns an error for what makes the rest of it unreadable.
func readRows(reader io.Reader, asCSV bool, each func(row) error) error {
	buffered := bufio.NewReaderSize(reader, 64<<10)
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		buffered.Discard(3) // the byte order mark that Windows editors leave
	}
	if asCSV {
		return readCSV(buffered, each)
	}
	return readEnrollments(buffered, each)
}

func readCSV(reader io.Reader, each func(row) error) error {
	lines := csv.NewReader(reader)
	lines.FieldsPerRecord = -1
	lines.ReuseRecord = true
	header, err := lines.Read()
	if err != nil {
		return fmt.Errorf("read the header of the CSV: %w", err)
	}
	columns := make([]string, len(header))
	for i, name := range header {
		j := slices.IndexFunc(csvColumns, func(known string) bool { return strings.EqualFold(known, strings.TrimSpace(name)) })
		if j < 0 {
			return fmt.Errorf("there is no column %q. Possible are: %s", name, strings.Join(csvColumns, ", "))
		}
		if slices.Contains(columns, csvColumns[j]) {
			return fmt.Errorf("the column %q is there twice", name)
		}
		columns[i] = csvColumns[j]
	}
	if !slices.Contains(columns, "registrationId") {
		return errors.New("the column registrationId is missing")
	}
	for {
		cells, err := lines.Read()
		if err == io.EOF {
			return nil
		}
		var parsing *csv.ParseError
		if errors.As(err, &parsing) {
			return fmt.Errorf("line %d: %w", parsing.StartLine, parsing.Err)
		}
		if err != nil {
			return err
		}
		line, _ := lines.FieldPos(0)
		found := row{place: fmt.Sprintf("line %d", line)}
		if len(cells) > len(columns) {
			found.err = fmt.Errorf("it has %d fields, the header has %d", len(cells), len(columns))
		} else {
			values := make(map[string]string, len(cells))
			for i, cell := range cells {
				values[columns[i]] = cell
			}
			found.enrollment, found.err = fromCSV(values)
		}
		if err := each(found); err != nil {
			return err
		}
	}
}

func readEnrollments(reader *bufio.Reader, each func(row) error) error {
	decoder := json.NewDecoder(reader)
	inArray := false
	for n := 1; ; n++ {
		if n == 1 {
			first, err := firstByte(reader)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if inArray = first == '['; inArray {
				if _, err := decoder.Token(); err != nil {
					return err
				}
			}
		}
		if inArray && !decoder.More() {
			_, err := decoder.Token() // the end
			return err
		}
		found := row{place: fmt.Sprintf("item %d", n)}
		var text json.RawMessage
		if err := decoder.Decode(&text); err == io.EOF && !inArray {
			return nil
		} else if err != nil {
			return fmt.Errorf("item %d is not JSON: %w", n, err)
		}
		if err := json.Unmarshal(text, &found.enrollment); err != nil {
			found.err = fmt.Errorf("it is not the JSON of an enrollment: %s", strings.TrimPrefix(err.Error(), "json: "))
		}
		if err := each(found); err != nil {
			return err
		}
	}
}

// firstByte looks at the first byte that is no space.
func firstByte(reader *bufio.Reader) (byte, error) {
	for {
		b, err := reader.ReadByte()
		if err != nil {
			return 0, err
		}
		if !strings.ContainsRune(" \t\r\n", rune(b)) {
			return b, reader.UnreadByte()
		}
	}
}

// formatOf is the format of a file: as it was asked for, else by the name.
func formatOf(asked, file string) (asCSV bool, _ error) {
	switch {
	case asked == "csv", asked == "" && strings.EqualFold(filepath.Ext(file), ".csv"):
		return true, nil
	case asked == "json", asked == "":
		return false, nil
	}
	return false, usageError{fmt.Errorf("--format is %q. It is json or csv", asked)}
}

func (c *cli) enrollmentExport() *cobra.Command {
	var asked string
	var keys bool
	var wanted selection
	command := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write enrollments to a file, as JSON or CSV",
		Long: `Writes individual enrollments to a file, or to the standard output, as a JSON array
in the form of the service API, or as CSV. Of certificates it writes what they say,
with their thumbprints, which is enough to import them elsewhere. Keys are written
with --keys only; the file is then readable by its owner alone.`,
		Example: `  berth enrollment export enrollments.json
  berth enrollment export enrollments.csv --keys`,
		Args: between(0, "FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			asCSV, err := formatOf(asked, file)
			if err != nil {
				return err
			}
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			output := c.stdout
			if file != "" {
				created, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
				if err != nil {
					return fmt.Errorf("make the file: %w", err)
				}
				defer func() { err = errors.Join(err, created.Close()) }()
				output = created
			}
			summary, err := service.Summary(command.Context())
			if err != nil {
				return err
			}
			shown := c.newProgress("enrollments exported", int64(summary.Enrollments))
			err = exportEnrollments(command.Context(), service, output, wanted, asCSV, keys, shown)
			shown.end()
			return err
		},
	}
	command.Flags().StringVar(&asked, "format", "", "json or csv (default: by the file's name, else json)")
	command.Flags().BoolVar(&keys, "keys", false, "write the symmetric keys too")
	wanted.flags(command)
	return command
}

func exportEnrollments(ctx context.Context, service *backend.Provisioning, output io.Writer, wanted selection, asCSV, keys bool, shown *progressBar) error {
	buffered := bufio.NewWriterSize(output, 64<<10)
	write, finish := jsonWriter(buffered)
	if asCSV {
		lines := csv.NewWriter(buffered)
		if err := lines.Write(csvColumns); err != nil {
			return err
		}
		write = func(e provisioning.Enrollment) error { return lines.Write(toCSV(e)) }
		finish = func() error { lines.Flush(); return lines.Error() }
	}
	left := wanted.max
	for after := ""; ; {
		top := pageSize
		if wanted.max > 0 {
			top = min(top, left)
		}
		page, next, err := service.Enrollments(ctx, wanted.prefix, after, top)
		if err != nil {
			return err
		}
		for _, enrollment := range page {
			if keys && enrollment.Attestation.Type == "symmetricKey" {
				if enrollment.Attestation, err = service.AttestationMechanism(ctx, enrollment.RegistrationID); err != nil {
					return err
				}
			}
			// What is its own here means nothing elsewhere.
			enrollment.RegistrationState, enrollment.ETag = nil, ""
			if err := write(enrollment); err != nil {
				return fmt.Errorf("write the file: %w", err)
			}
		}
		shown.add(int64(len(page)))
		left -= len(page)
		if after = next; next == "" || wanted.max > 0 && left <= 0 {
			return errors.Join(finish(), buffered.Flush())
		}
	}
}

// jsonWriter writes an array with an element a line.
func jsonWriter(output io.Writer) (write func(provisioning.Enrollment) error, finish func() error) {
	before := "[\n"
	write = func(e provisioning.Enrollment) error {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(output, "%s%s", before, text)
		before = ",\n"
		return err
	}
	return write, func() error {
		if before == "[\n" {
			_, err := io.WriteString(output, "[]\n")
			return err
		}
		_, err := io.WriteString(output, "\n]\n")
		return err
	}
}

func (c *cli) enrollmentImport() *cobra.Command {
	var asked, mode string
	var dryRun bool
	command := &cobra.Command{
		Use:   "import FILE",
		Short: "Make enrollments of a file, JSON or CSV",
		Long: `Makes or changes individual enrollments as a file says: a JSON array or one JSON
object after the other, in the form of the service API, or CSV with a header. What
is wrong with one is said with its place, and the others are done all the same; the
exit code is 1 then. - is the standard input.

The columns of CSV are ` + strings.Join(csvColumns, ", ") + `;
only registrationId is needed. Certificates are PEM or base64.`,
		Example: `  berth enrollment import enrollments.csv
  berth enrollment import enrollments.json --mode upsert
  berth enrollment import enrollments.json --dry-run`,
		Args: exactly("FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			asCSV, err := formatOf(asked, args[0])
			if err != nil {
				return err
			}
			if !slices.Contains([]string{"create", "update", "upsert"}, mode) {
				return usageError{fmt.Errorf("--mode is %q. It is create, update or upsert", mode)}
			}
			input, size := io.Reader(os.Stdin), int64(0)
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("read the enrollments: %w", err)
				}
				defer file.Close()
				if about, err := file.Stat(); err == nil {
					size = about.Size()
				}
				input = file
			}
			service, err := c.target.provisioning()
			if err != nil {
				return err
			}
			shown := c.newProgress("bytes read", size)
			importing := &enrollmentImport{service: service, mode: mode, dryRun: dryRun, failed: func(place, id, why string) {
				shown.line(fmt.Sprintf("%s, %s: %s", place, plain(orDash(id)), plain(why)))
			}}
			err = importing.run(command.Context(), io.TeeReader(input, shown), asCSV)
			shown.end()
			result := map[string]int{"done": importing.done, "failed": importing.wrong}
			if printed := c.print(result, func(w io.Writer) {
				verb := "imported"
				if dryRun {
					verb = "would be sent"
				}
				fmt.Fprintf(w, "%d %s, %d failed\n", importing.done, verb, importing.wrong)
			}); err == nil {
				err = printed
			}
			if err == nil && importing.wrong > 0 {
				err = fmt.Errorf("%d of %d enrollments were not imported", importing.wrong, importing.wrong+importing.done)
			}
			return err
		},
	}
	flags := command.Flags()
	flags.StringVar(&asked, "format", "", "json or csv (default: by the file's name, else json)")
	flags.StringVar(&mode, "mode", "create", "create (those that are there fail), update (those that are not there fail) or upsert")
	flags.BoolVar(&dryRun, "dry-run", false, "only read the file, and say what is wrong with its form")
	command.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]cobra.Completion{"create", "update", "upsert"}, cobra.ShellCompDirectiveNoFileComp))
	return command
}

// enrollmentImport sends enrollments in bulk, several bulks at once.
type enrollmentImport struct {
	service *backend.Provisioning
	mode    string
	dryRun  bool
	failed  func(place, id, why string)

	mutex       sync.Mutex
	done, wrong int
	broken      error // what ends it
}

// bulksAtOnce is how many bulk operations are under way.
const bulksAtOnce = 4

func (i *enrollmentImport) run(ctx context.Context, input io.Reader, asCSV bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bulks := make(chan []row)
	var senders sync.WaitGroup
	for range bulksAtOnce {
		senders.Go(func() {
			for bulk := range bulks {
				if err := i.send(ctx, bulk); err != nil {
					i.mutex.Lock()
					i.broken = cmp.Or(i.broken, err)
					i.mutex.Unlock()
					cancel()
				}
			}
		})
	}
	var bulk []row
	flush := func() error {
		if len(bulk) == 0 {
			return nil
		}
		select {
		case bulks <- bulk:
			bulk = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := readRows(input, asCSV, func(found row) error {
		if found.err != nil {
			i.fail(found, found.err.Error())
			return nil
		}
		if bulk = append(bulk, found); len(bulk) == backend.MaxBulk {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	close(bulks)
	senders.Wait()
	return cmp.Or(i.broken, err)
}

func (i *enrollmentImport) fail(found row, why string) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.wrong++
	i.failed(found.place, found.enrollment.RegistrationID, why)
}

// send sends a bulk; upsert creates, and updates those that were there.
func (i *enrollmentImport) send(ctx context.Context, bulk []row) error {
	if i.dryRun {
		i.mutex.Lock()
		defer i.mutex.Unlock()
		i.done += len(bulk)
		return nil
	}
	mode := backend.BulkCreate
	if i.mode == "update" {
		mode = backend.BulkUpdate
	}
	failed, err := i.apply(ctx, mode, bulk)
	if err != nil {
		return err
	}
	if i.mode == "upsert" {
		var there []row
		for _, found := range bulk {
			if problem, ok := failed[found.place]; ok && problem.Code == int(fault.EnrollmentConflict) {
				there = append(there, found)
				delete(failed, found.place)
			}
		}
		if len(there) > 0 {
			again, err := i.apply(ctx, backend.BulkUpdate, there)
			if err != nil {
				return err
			}
			maps.Copy(failed, again)
		}
	}
	for _, found := range bulk {
		if problem, ok := failed[found.place]; ok {
			i.fail(found, problem.Message)
		}
	}
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.done += len(bulk) - len(failed)
	return nil
}

// apply returns those that failed by their places.
func (i *enrollmentImport) apply(ctx context.Context, mode backend.BulkMode, bulk []row) (map[string]backend.BulkError, error) {
	enrollments := make([]provisioning.Enrollment, len(bulk))
	for n, found := range bulk {
		enrollments[n] = found.enrollment
	}
	problems, err := i.service.BulkEnrollments(ctx, mode, enrollments)
	failed := make(map[string]backend.BulkError)
	if errors.Is(err, fault.MessageTooLarge) && len(bulk) > 1 {
		for _, half := range [][]row{bulk[:len(bulk)/2], bulk[len(bulk)/2:]} {
			again, err := i.apply(ctx, mode, half)
			if err != nil {
				return nil, err
			}
			maps.Copy(failed, again)
		}
		return failed, nil
	}
	for _, problem := range problems {
		// Of two with the same id it is the later one that was in the way.
		for _, found := range slices.Backward(bulk) {
			if _, taken := failed[found.place]; !taken && found.enrollment.RegistrationID == problem.ID {
				failed[found.place] = problem
				break
			}
		}
	}
	return failed, err
}
