package job

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/store"
)

// The kinds of jobs that move the identities of a hub, with their twins, to a container of
// blobs, or from one (Microsoft Learn, iot-hub-bulk-identity-mgmt).
const (
	Export Kind = "export"
	Import Kind = "import"
)

// Transfer is what an import or export is about. The addresses hold keys.
type Transfer struct {
	Input       string `json:"input,omitempty"`      // address of the container that is imported from
	InputBlob   string `json:"inputBlob,omitempty"`  // "" is devices.txt
	Output      string `json:"output"`               // of the container for the export, or for what failed of an import
	OutputBlob  string `json:"outputBlob,omitempty"` // of an export; "" is devices.txt
	ExcludeKeys bool   `json:"excludeKeys,omitempty"`
}

// The names of blobs, as with Azure.
const (
	devicesBlob = "devices.txt"
	errorsBlob  = "importErrors.log"
)

// excludedKeys is the first line of an export without keys, which no import takes for an
// identity.
const excludedKeys = "Warning: the symmetric keys are not in this export. " +
	"Devices and modules that are imported from it get others.\n"

// Blobs are containers at addresses with a shared access signature. What the other side
// refuses, or can't be reached, is fault 400008.
type Blobs interface {
	// Check returns why a container can't be one, before anything is asked of it.
	Check(container string) error
	// Get returns the content of a blob. The caller closes it.
	Get(ctx context.Context, container, name string) (io.ReadCloser, error)
	// Put makes a blob of what write writes: all of it, or none.
	Put(ctx context.Context, container, name string, write func(io.Writer) error) error
}

// lineError says why a line of an import failed.
type lineError struct {
	DeviceID    string `json:"deviceId"`
	ModuleID    string `json:"moduleId,omitempty"`
	ErrorCode   int    `json:"errorCode"`
	ErrorStatus string `json:"errorStatus"`
}

const (
	linesAtOnce = 20
	maxLine     = 2 << 20 // bytes
)

// CreateTransfer takes up an import or export, under an id that it makes. It returns fault
// 403003 while there is another, 400008 for a container that can't be one, and those of
// Create.
func (j *Jobs) CreateTransfer(ctx context.Context, kind Kind, transfer Transfer) (Job, error) {
	if j.Blobs == nil {
		return Job{}, fault.New(fault.InvalidContainer, "This server reaches no containers of blobs")
	}
	containers := []string{transfer.Output}
	if kind == Import {
		containers = append(containers, transfer.Input)
	}
	for _, container := range containers {
		if err := j.Blobs.Check(container); err != nil {
			return Job{}, err
		}
	}
	active, err := j.index.List(ctx, activePrefix, "", maxActive)
	if err != nil {
		return Job{}, err
	}
	for _, e := range active {
		_, id := parseIndexKey(e.Key)
		other, _, err := j.jobs.Get(ctx, id)
		if err == nil && other.IsTransfer() {
			return Job{}, fault.New(fault.JobQuotaExceeded,
				"The %s %s has not ended, and there is one import or export at a time. Wait until it has, or cancel it",
				fault.Word(other.Kind), id)
		}
	}
	return j.Create(ctx, Specification{ID: fault.NewTrackingID(), Kind: kind, Transfer: &transfer,
		Limit: int64(maxLimit / time.Second)})
}

// IsTransfer reports whether a job is an import or export.
func (j Job) IsTransfer() bool { return j.Kind == Export || j.Kind == Import }

// transfer carries out an import or export, which nobody has a turn in.
func (r *runner) transfer(ctx context.Context, job *Job) error {
	if job.Kind == Export {
		return r.export(ctx, job)
	}
	return r.importLines(ctx, job)
}

// export writes all identities into a blob. One that is taken up again begins anew: there is
// no blob before it is whole.
func (r *runner) export(ctx context.Context, job *Job) error {
	t := job.Transfer
	job.Statistics = Statistics{}
	saved := time.Now()
	return r.Blobs.Put(ctx, t.Output, cmp.Or(t.OutputBlob, devicesBlob), func(w io.Writer) error {
		if t.ExcludeKeys {
			if _, err := io.WriteString(w, excludedKeys); err != nil {
				return err
			}
		}
		return r.Export(ctx, t.ExcludeKeys, func(line []byte) error {
			job.Statistics.Devices++
			job.Statistics.Succeeded++
			if time.Since(saved) >= lookEvery {
				saved = time.Now()
				if err := errors.Join(r.checkTime(job), r.save(ctx, job)); err != nil {
					return err
				}
			}
			_, err := w.Write(append(line, '\n'))
			return err
		})
	})
}

// importLines imports the lines of a blob, some at a time: how far they go is committed
// before, and afterwards what failed of them. Those that a process began and did not finish
// are done again with redo, by which Import knows what was done.
func (r *runner) importLines(ctx context.Context, job *Job) error {
	t := job.Transfer
	content, err := r.Blobs.Get(ctx, t.Input, cmp.Or(t.InputBlob, devicesBlob))
	if err != nil {
		return err
	}
	defer content.Close()
	lines := bufio.NewScanner(content)
	lines.Buffer(nil, maxLine)
	var some [][]byte
	for number, more := 0, true; more; {
		if more = lines.Scan(); more {
			if number++; number > job.Progress.Lines {
				some = append(some, bytes.Clone(lines.Bytes()))
			}
		}
		if len(some) == linesAtOnce || !more && len(some) > 0 {
			if err := r.importSome(ctx, job, some); err != nil {
				return err
			}
			some = some[:0]
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fault.New(fault.ArgumentInvalid, "Line %d of the import has more than %d bytes", job.Progress.Lines+1,
			maxLine)
	}
	if err := lines.Err(); err != nil {
		return fault.New(fault.InvalidContainer, "The blob that is imported broke off").Because(err)
	}
	return r.Blobs.Put(ctx, t.Output, errorsBlob, func(w io.Writer) error { return r.writeErrors(ctx, job.ID, w) })
}

// importSome imports lines that follow those that were done.
func (r *runner) importSome(ctx context.Context, job *Job, lines [][]byte) error {
	if err := r.checkTime(job); err != nil {
		return err
	}
	begun := job.Progress.Begun // by an earlier process
	if last := job.Progress.Lines + len(lines); last > begun {
		job.Progress.Begun = last
		if err := r.save(ctx, job); err != nil {
			return err
		}
	}
	var changes []store.Change
	for _, line := range lines {
		job.Progress.Lines++
		if line = bytes.TrimSpace(line); len(line) == 0 || job.Progress.Lines == 1 && line[0] != '{' {
			continue // the warning of an export without keys
		}
		job.Statistics.Devices++
		id, moduleID, err := r.Import(ctx, line, job.Progress.Lines <= begun)
		problem, refused := refusal(err)
		switch {
		case err == nil:
			job.Statistics.Succeeded++
			continue
		case !refused:
			return err
		}
		job.Statistics.Failed++
		changes = append(changes, r.lines.Put(deviceKey(job.ID, fmt.Sprintf("%012d", job.Progress.Lines)), store.Always,
			lineError{DeviceID: id, ModuleID: moduleID, ErrorCode: int(problem.Code), ErrorStatus: problem.Message}))
	}
	return r.save(ctx, job, changes...)
}

// writeErrors writes what failed of an import, a JSON object a line.
func (r *runner) writeErrors(ctx context.Context, id string, w io.Writer) error {
	for after, more := "", true; more; {
		entries, err := r.lines.List(ctx, deviceKey(id, ""), after, changesAtOnce)
		if err != nil {
			return err
		}
		for _, e := range entries {
			after = e.Key
			line, err := json.Marshal(e.Value)
			if err != nil {
				return err
			}
			if _, err := w.Write(append(line, '\n')); err != nil {
				return err
			}
		}
		more = len(entries) == changesAtOnce
	}
	return nil
}
