package hubcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

func (c commands) job() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "job",
		Short: "Scheduled jobs: what is done with each device that a condition finds",
	})
	command.AddCommand(c.jobCreate(), c.jobList(), c.jobShow(), c.jobDevices(), c.jobCancel())
	return command
}

// watchEvery is the time between two looks at a job that is waited for.
const watchEvery = 500 * time.Millisecond

func (c commands) jobCreate() *cobra.Command {
	var asked contract.JobRequest
	var tags, desired, start, methodName, payload string
	var timeout, connectTimeout int
	var limit time.Duration
	var wait bool
	var command *cobra.Command
	command = c.inHub(&cobra.Command{
		Args:  cli.ExactArgs("ID"),
		Use:   "create ID",
		Short: "Update the twins of many devices, or call a method of each, now or later",
		Long: `Has the server do something with each device that a condition finds: merge tags and
desired properties into its twin (null removes a property), or call a method of it. The
job goes on where it was when the server is started again: no twin is updated twice, and
no method called twice. It is kept for 30 days after its end.`,
		Example: `  berth job create winter --query-condition "tags.site = 'harbour'" --desired '{"interval":60}' --wait
  berth job create tonight --tags '{"wave":2}' --start 8h
  berth job create restart --query-condition "connectionState = 'Connected'" --method-name reboot`,
	}, func(ctx context.Context, client cli.HubClient, id string) (err error) {
		asked.JobID, asked.MaxExecutionTime = id, int64(limit/time.Second)
		if limit%time.Second != 0 || limit < time.Second {
			return cli.UsageError(fmt.Errorf("--ttl must be whole seconds, from 1s, not %s", limit))
		}
		if err := startOf(&asked, start); err != nil {
			return err
		}
		patch, err := twinPatch(command, tags, desired)
		switch {
		case err != nil:
			return err
		case methodName != "" && patch != nil:
			return cli.UsageError(errors.New("--method-name excludes --tags and --desired"))
		case methodName != "":
			asked.Type = "scheduleDeviceMethod"
			call := contract.MethodCall{MethodName: methodName, ResponseTimeout: &timeout, ConnectTimeout: &connectTimeout}
			if payload != "" {
				if call.Payload, err = cli.ReadJSON("method-payload", payload); err != nil {
					return err
				}
			}
			if asked.CloudToDeviceMethod, err = document.Marshal(call); err != nil {
				return err
			}
		case patch == nil:
			return cli.UsageError(errors.New("the job would do nothing: give --tags, --desired or --method-name"))
		default:
			asked.Type, asked.UpdateTwin = "scheduleUpdateTwin", append([]byte(`{"etag":"*",`), patch[1:]...)
		}
		created, err := client.ScheduleJob(ctx, asked)
		if err != nil {
			return err
		}
		if wait {
			if created, err = c.watchJob(ctx, client, id); err != nil {
				return err
			}
		}
		if err := c.printJob(created); err != nil {
			return err
		}
		return jobFailure(created)
	})
	flags := command.Flags()
	flags.StringVar(&asked.QueryCondition, "query-condition", "*",
		"which devices: a `condition` as after WHERE in a query; * is all")
	flags.StringVar(&tags, "tags", "", "merge these tags: `JSON`, or @FILE")
	flags.StringVar(&desired, "desired", "", "merge these desired properties: `JSON`, or @FILE")
	flags.StringVar(&methodName, "method-name", "", "call this `method`")
	flags.StringVar(&payload, "method-payload", "", "what the method gets: any `JSON`, or @FILE that holds it")
	flags.IntVar(&timeout, "method-response-timeout", 30, "how many `seconds` a device has to answer, 5 to 300")
	flags.IntVar(&connectTimeout, "method-connect-timeout", 0,
		"how many `seconds` to wait for a device that is not connected, up to --method-response-timeout")
	flags.StringVar(&start, "start", "", "begin then, in 7 days at most: a `time`, or 8h (default: now)")
	flags.DurationVar(&limit, "ttl", time.Hour, "end the job when it has run for so long")
	flags.BoolVar(&wait, "wait", false, "wait until the job has ended, and show how far it has come")
	return command
}

// startOf reads a time, or one that is so long from now.
func startOf(asked *contract.JobRequest, start string) error {
	if start == "" {
		return nil
	}
	now := time.Now()
	at, err := cli.ParseTime(start, now)
	if after, notDuration := time.ParseDuration(start); notDuration == nil {
		at, err = now.Add(after), nil
	}
	if err != nil {
		return cli.UsageError(fmt.Errorf("--start must be %w", err))
	}
	asked.StartTime = document.FormatTime(at)
	return nil
}

// watchJob returns a job once it has ended, and shows until then how many of its devices have
// had their turn.
func (c commands) watchJob(ctx context.Context, client cli.HubClient, id string) (contract.Job, error) {
	var progress *cli.Progress
	shown := 0
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		job, err := client.Job(ctx, id)
		if err != nil {
			return job, err
		}
		ended := job.EndTime.Time != (time.Time{})
		if s := job.Statistics; s != nil && (job.Status == "running" || ended) && s.DeviceCount > 0 {
			if progress == nil {
				progress = c.NewProgress("devices", int64(s.DeviceCount))
			}
			progress.Add(int64(s.SucceededCount + s.FailedCount - shown))
			shown = s.SucceededCount + s.FailedCount
		}
		if ended {
			if progress != nil {
				progress.End()
			}
			return job, nil
		}
		select {
		case <-ctx.Done():
			return job, ctx.Err()
		case <-ticker.C:
		}
	}
}

// jobFailure is an error for a job that did not do what it was to do.
func jobFailure(job contract.Job) error {
	switch {
	case job.Status == "failed":
		return fmt.Errorf("the job failed: %s", job.FailureReason)
	case job.Statistics != nil && job.Statistics.FailedCount > 0 && job.Status == "completed":
		return cli.Advise(fmt.Errorf("%d of %d devices failed", job.Statistics.FailedCount, job.Statistics.DeviceCount),
			"berth job devices %s --failed says why.", cli.Quote(job.JobID))
	}
	return nil
}

func (c commands) printJob(job contract.Job) error {
	return c.Print(job, func(w io.Writer) {
		cli.PrintFields(w, cli.Field{"Job", job.JobID}, cli.Field{"Type", job.Type}, cli.Field{"Status", job.Status},
			cli.Field{"Reason", job.FailureReason}, cli.Field{"Condition", job.QueryCondition},
			cli.Field{"Twin patch", string(job.UpdateTwin)}, cli.Field{"Method", string(job.CloudToDeviceMethod)},
			cli.Field{"Created", cli.FormatTime(job.CreatedTime.Time)},
			cli.Field{"Start", cli.FormatTime(job.StartTime.Time)}, cli.Field{"End", cli.FormatTime(job.EndTime.Time)},
			cli.Field{"Devices", jobCounts(job)})
	})
}

// jobCounts is what became of the devices of a job.
func jobCounts(job contract.Job) string {
	s := job.Statistics
	if s == nil {
		return ""
	}
	counts := []string{fmt.Sprintf("%d in all", s.DeviceCount)}
	for _, part := range []struct {
		n    int
		what string
	}{{s.SucceededCount, "succeeded"}, {s.FailedCount, "failed"}, {s.RunningCount, "running"},
		{s.PendingCount, "pending"}} {
		if part.n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return strings.Join(counts, ", ")
}

func (c commands) jobList() *cobra.Command {
	var hubName, kind, status string
	wanted := cli.Selection{}
	command := &cobra.Command{
		Use:     "list",
		Short:   "List jobs",
		Example: "  berth job list\n  berth job list --job-status running -o json",
		Args:    cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := c.Target.Hub(hubName)
			if err != nil {
				return err
			}
			page := func(_, after string, top int) ([]contract.Job, string, error) {
				return client.Jobs(command.Context(), kind, status, after, top)
			}
			return cli.PrintPages(c.Env, wanted, page, cli.Nothing("There are no such jobs."),
				[]string{"JOB", "TYPE", "STATUS", "START", "DEVICES"}, func(j contract.Job) []string {
					return []string{j.JobID, j.Type, j.Status, cli.FormatTime(j.StartTime.Time), jobCounts(j)}
				})
		},
	}
	flags := command.Flags()
	flags.StringVar(&kind, "job-type", "", "only jobs of this `type`, such as scheduleUpdateTwin")
	flags.StringVar(&status, "job-status", "", "only jobs in this `state`")
	cli.MaxFlag(command, &wanted.Max, cli.DefaultMax)
	hubFlag(command, &hubName)
	return command
}

func (c commands) jobShow() *cobra.Command {
	var wait bool
	command := c.inHub(&cobra.Command{
		Args:    cli.ExactArgs("ID"),
		Use:     "show ID",
		Short:   "Show a job and what became of its devices so far",
		Example: "  berth job show winter\n  berth job show winter --wait",
	}, func(ctx context.Context, client cli.HubClient, id string) error {
		job, err := client.Job(ctx, id)
		if err == nil && job.Type == contract.UnknownJob {
			err = fault.New(fault.JobNotFound, "There is no job %.128q", id)
		}
		if err == nil && wait {
			job, err = c.watchJob(ctx, client, id)
		}
		if err != nil {
			return err
		}
		return c.printJob(job)
	})
	command.Flags().BoolVar(&wait, "wait", false, "wait until the job has ended, and show how far it has come")
	return command
}

func (c commands) jobDevices() *cobra.Command {
	var failed bool
	wanted := cli.Selection{}
	command := c.inHub(&cobra.Command{
		Args:    cli.ExactArgs("ID"),
		Use:     "devices ID",
		Short:   "List what became of each device of a job",
		Example: "  berth job devices winter --failed",
	}, func(ctx context.Context, client cli.HubClient, id string) error {
		page := func(_, after string, top int) ([]contract.DeviceJob, string, error) {
			return jobDevicesPage(ctx, client, id, failed, after, top)
		}
		return cli.PrintPages(c.Env, wanted, page, cli.Nothing("There are no such devices."),
			[]string{"DEVICE", "STATUS", "END", "OUTCOME"}, func(d contract.DeviceJob) []string {
				return []string{deviceOrModule(d), d.Status, cli.FormatTime(d.EndTime.Time), jobOutcome(d)}
			})
	})
	command.Flags().BoolVar(&failed, "failed", false, "only those that failed")
	cli.MaxFlag(command, &wanted.Max, cli.DefaultMax)
	return command
}

// jobDevicesPage is a page of the devices of a job, or of those that failed: of the others
// none is shown, and a page that has none left is passed over.
func jobDevicesPage(
	ctx context.Context, client cli.HubClient, id string, failed bool, after string, top int,
) (devices []contract.DeviceJob, _ string, _ error) {
	for {
		page, next, err := client.JobDevices(ctx, id, after, top-len(devices))
		if err != nil {
			return nil, "", err
		}
		for _, d := range page {
			if !failed || d.Status == "failed" {
				devices = append(devices, d)
			}
		}
		if after = next; after == "" || len(devices) == top {
			return devices, after, nil
		}
	}
}

func deviceOrModule(d contract.DeviceJob) string {
	if d.ModuleID == "" {
		return d.DeviceID
	}
	return d.DeviceID + "/" + d.ModuleID
}

func jobOutcome(d contract.DeviceJob) string {
	switch {
	case d.Error != nil:
		return d.Error.Code + " " + d.Error.Description
	case d.Outcome != nil:
		return fmt.Sprintf("%d %s", d.Outcome.DeviceMethodResponse.Status, d.Outcome.DeviceMethodResponse.Payload)
	}
	return ""
}

func (c commands) jobCancel() *cobra.Command {
	var running bool
	command := c.inHub(&cobra.Command{
		Args:  cli.ExactArgs("ID"),
		Use:   "cancel ID",
		Short: "Cancel a job that has not begun, or with --running one that has",
		Long: `Cancels a job. One that has begun is cancelled with --running: what was done stays
done, and no other device has its turn.`,
		Example: "  berth job cancel tonight\n  berth job cancel winter --running",
	}, func(ctx context.Context, client cli.HubClient, id string) error {
		cancel := client.CancelJob
		if running {
			cancel = client.StopJob
		}
		job, err := cancel(ctx, id)
		if err != nil {
			return err
		}
		return c.printJob(job)
	})
	command.Flags().BoolVar(&running, "running", false, "also when it has begun")
	return command
}
