package hubcmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/hub/configuration"
)

func (c commands) configuration() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "configuration",
		Short: "Configurations: desired properties for all devices that a condition holds for",
		Long: `Automatic device management. A configuration writes its content into the desired
properties of the devices that its target condition holds for, and of those that
come to meet it. Of several that target a device the one with the highest priority
is applied. Deployments to IoT Edge devices are configurations, too.`,
	})
	command.AddCommand(c.configurationList(), c.configurationShow(), c.configurationCreate(), c.configurationUpdate(),
		c.configurationDelete(), c.configurationMetrics(), c.configurationTest(), c.configurationApply())
	return command
}

// configurationFlags are what the flags say of a configuration.
type configurationFlags struct {
	content, condition, labels, metrics string
	priority                            int
}

func (f *configurationFlags) add(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.condition, "target-condition", "", "which devices it is for: a `condition` such as "+
		"\"tags.site='A'\", or * for all")
	flags.IntVar(&f.priority, "priority", 0, "the `number` by which the highest of several is applied")
	flags.StringVar(&f.labels, "labels", "", "its labels: a `JSON` object of strings, or @FILE that holds it")
	flags.StringVar(&f.metrics, "metrics", "", "its metrics: a `JSON` object of queries by name, or @FILE that holds it")
}

func (f *configurationFlags) addContent(command *cobra.Command) {
	command.Flags().StringVar(&f.content, "content", "",
		"its content: `JSON` with deviceContent, moduleContent or modulesContent, or @FILE that holds it")
}

// into writes what the flags say into a configuration.
func (f *configurationFlags) into(command *cobra.Command, wanted *configuration.Configuration) error {
	changed := command.Flags().Changed
	if changed("target-condition") {
		wanted.TargetCondition = f.condition
	}
	if changed("priority") {
		wanted.Priority = f.priority
	}
	if changed("labels") {
		labels, err := readObject("labels", f.labels)
		if err != nil {
			return err
		}
		wanted.Labels = &labels
	}
	if changed("metrics") {
		metrics, err := readObject("metrics", f.metrics)
		if err != nil {
			return err
		}
		if queries := metrics.Get("queries"); queries.Kind() == document.KindObject { // as Azure's command line has it
			metrics = queries.Object()
		}
		wanted.Metrics.Queries = metrics
	}
	return nil
}

func readObject(flag, value string) (document.Object, error) {
	text, err := cli.ReadJSON(flag, value)
	if err != nil {
		return document.Object{}, err
	}
	object, err := document.Parse(text, document.MaxFreeDepth)
	if err != nil {
		return object, cli.UsageError(fmt.Errorf("--%s: %w", flag, err))
	}
	return object, nil
}

// readContent reads the flag of a content, which may stand in the member content. Without the
// flag there is none, which the hub refuses where it needs some.
func readContent(value string) (json.RawMessage, configuration.Content, error) {
	if value == "" {
		return nil, configuration.Content{}, nil
	}
	object, err := readObject("content", value)
	if err != nil {
		return nil, configuration.Content{}, err
	}
	if inner := object.Get("content"); inner.Kind() == document.KindObject {
		object = inner.Object()
	}
	text := json.RawMessage(object.String())
	content, err := configuration.ReadContent(text)
	return text, content, err
}

func (c commands) configurationCreate() *cobra.Command {
	var flags configurationFlags
	command := &cobra.Command{
		Use:   "create ID",
		Short: "Create a configuration, which is applied at once",
		Example: `  berth configuration create fan-1 --target-condition "tags.site='A'" --priority 10 \
    --content '{"deviceContent":{"properties.desired.fan":{"speed":3}}}'
  berth configuration create edge-1 --target-condition "*" --content @deployment.json`,
		Args: cli.ExactArgs("ID"),
	}
	command = c.inHub(command, func(ctx context.Context, client cli.HubClient, id string) error {
		wanted := configuration.Configuration{ID: id}
		var err error
		if _, wanted.Content, err = readContent(flags.content); err != nil {
			return err
		}
		if err := flags.into(command, &wanted); err != nil {
			return err
		}
		created, err := client.CreateConfiguration(ctx, wanted)
		return c.printConfiguration(created, err)
	})
	flags.add(command)
	flags.addContent(command)
	return command
}

func (c commands) configurationUpdate() *cobra.Command {
	var flags configurationFlags
	command := &cobra.Command{
		Use:   "update ID",
		Short: "Change the condition, priority, labels or metrics of a configuration",
		Long: `Changes what is named, and applies the configuration again. Its content can't be
changed: create another one with a higher priority, and delete this one.`,
		Example: "  berth configuration update fan-1 --priority 20",
		Args:    cli.ExactArgs("ID"),
	}
	command = c.inHub(command, func(ctx context.Context, client cli.HubClient, id string) error {
		present, err := client.Configuration(ctx, id)
		if err != nil {
			return err
		}
		if err := flags.into(command, &present); err != nil {
			return err
		}
		updated, err := client.UpdateConfiguration(ctx, present, present.ETag)
		return c.printConfiguration(updated, err)
	})
	flags.add(command)
	return command
}

func (c commands) configurationList() *cobra.Command {
	return c.inHub(&cobra.Command{
		Use:     "list",
		Short:   "List configurations with what they target",
		Example: "  berth configuration list\n  berth configuration list -o json",
		Args:    cli.ExactArgs(),
	}, func(ctx context.Context, client cli.HubClient, _ string) error {
		found, err := client.Configurations(ctx)
		if err != nil {
			return err
		}
		return cli.PrintList(c.Env, found, "There are no configurations.",
			[]string{"ID", "PRIORITY", "TARGETED", "APPLIED", "TARGET CONDITION"},
			func(one configuration.Configuration) []string {
				results := one.SystemMetrics.Results
				return []string{one.ID, fmt.Sprint(one.Priority), cmp.Or(results.Get("targetedCount").String(), "-"),
					cmp.Or(results.Get("appliedCount").String(), "-"), one.TargetCondition}
			})
	})
}

func (c commands) configurationShow() *cobra.Command {
	return c.inHub(&cobra.Command{
		Use:     "show ID",
		Short:   "Show a configuration",
		Example: "  berth configuration show fan-1",
		Args:    cli.ExactArgs("ID"),
	}, func(ctx context.Context, client cli.HubClient, id string) error {
		found, err := client.Configuration(ctx, id)
		return c.printConfiguration(found, err)
	})
}

func (c commands) printConfiguration(one configuration.Configuration, err error) error {
	if err != nil {
		return err
	}
	return c.Print(one, func(w io.Writer) {
		labels := ""
		if one.Labels != nil {
			labels = one.Labels.String()
		}
		content, err := document.Marshal(one.Content)
		if err != nil {
			content = nil // it came as JSON
		}
		results := one.SystemMetrics.Results
		cli.PrintFields(w,
			cli.Field{"Id", one.ID},
			cli.Field{"Target condition", one.TargetCondition},
			cli.Field{"Priority", fmt.Sprint(one.Priority)},
			cli.Field{"Targeted", results.Get("targetedCount").String()},
			cli.Field{"Applied", results.Get("appliedCount").String()},
			cli.Field{"Labels", labels},
			cli.Field{"Content", string(content)},
			cli.Field{"Created", cli.FormatTime(one.CreatedTimeUTC.Time)},
			cli.Field{"Updated", cli.FormatTime(one.LastUpdatedTimeUTC.Time)})
	})
}

func (c commands) configurationDelete() *cobra.Command {
	var etag string
	command := c.inHub(&cobra.Command{
		Use:   "delete ID",
		Short: "Delete a configuration",
		Long: `Deletes a configuration. What it has written into twins stays, until another
configuration or somebody else writes something else there.`,
		Example: "  berth configuration delete fan-1",
		Args:    cli.ExactArgs("ID"),
	}, func(ctx context.Context, client cli.HubClient, id string) error {
		return client.DeleteConfiguration(ctx, id, etag)
	})
	command.Flags().StringVar(&etag, "etag", "", "delete it only if it still has this `etag`")
	return command
}

// Metric is one metric of a configuration.
type Metric struct {
	Name   string `json:"name"`
	Type   string `json:"type"` // system or user
	Result *int64 `json:"result"`
	Query  string `json:"query"`
}

func (c commands) configurationMetrics() *cobra.Command {
	return c.inHub(&cobra.Command{
		Use:   "show-metric ID",
		Short: "Show the metrics of a configuration",
		Long: `Shows the system's metrics of a configuration and its own, with their queries. How
many it targets and is applied to is what is so now; others were counted when the
configurations were evaluated last, which is at least every five minutes.`,
		Example: "  berth configuration show-metric fan-1",
		Args:    cli.ExactArgs("ID"),
	}, func(ctx context.Context, client cli.HubClient, id string) error {
		found, err := client.Configuration(ctx, id)
		if err != nil {
			return err
		}
		metrics := []Metric{}
		for _, of := range []struct {
			kind string
			configuration.Metrics
		}{{"system", found.SystemMetrics}, {"user", found.Metrics}} {
			for name, query := range of.Queries.All() {
				one := Metric{Name: name, Type: of.kind, Query: query.Text()}
				var n int64
				if json.Unmarshal([]byte(of.Results.Get(name).String()), &n) == nil {
					one.Result = &n
				}
				metrics = append(metrics, one)
			}
		}
		return cli.PrintList(c.Env, metrics, "It has no metrics.", []string{"NAME", "TYPE", "RESULT", "QUERY"},
			func(m Metric) []string {
				result := "-"
				if m.Result != nil {
					result = fmt.Sprint(*m.Result)
				}
				return []string{m.Name, m.Type, result, m.Query}
			})
	})
}

// Tested is what a configuration would be and do.
type Tested struct {
	contract.ConfigurationTestResult
	Matched int      `json:"matched"`
	IDs     []string `json:"ids"` // the first of those that it would target
}

func (c commands) configurationTest() *cobra.Command {
	var flags configurationFlags
	command := &cobra.Command{
		Use:   "test",
		Short: "Say what is wrong with a condition and metrics, and which devices would be targeted",
		Long: `Reads a target condition and the queries of metrics, says what is wrong with them,
and counts the devices, or modules where --content is for those, that a
configuration would target now. It changes nothing.`,
		Example: `  berth configuration test --target-condition "tags.site='A' AND properties.reported.fan.speed < 3"`,
		Args:    cli.ExactArgs(),
	}
	command = c.inHub(command, func(ctx context.Context, client cli.HubClient, _ string) error {
		var wanted configuration.Configuration
		if err := flags.into(command, &wanted); err != nil {
			return err
		}
		targets := contract.ConfigurationTargets{TargetCondition: wanted.TargetCondition}
		var err error
		if targets.Content, _, err = readContent(flags.content); err != nil {
			return err
		}
		test := contract.ConfigurationTest{TargetCondition: wanted.TargetCondition,
			CustomMetricQueries: make(map[string]string)}
		for name, query := range wanted.Metrics.Queries.All() {
			test.CustomMetricQueries[name] = query.Text()
		}
		tested := Tested{IDs: []string{}}
		if tested.ConfigurationTestResult, err = client.TestConfiguration(ctx, test); err != nil {
			return err
		}
		if strings.TrimSpace(wanted.TargetCondition) == "*" { // which Azure's operation refuses to test
			tested.TargetConditionError = nil
		}
		if tested.TargetConditionError == nil {
			if err := findTargets(ctx, client, targets, &tested); err != nil {
				return err
			}
		}
		return c.printTested(tested)
	})
	flags.add(command)
	flags.addContent(command)
	return command
}

// findTargets counts what a configuration would target, part by part.
func findTargets(
	ctx context.Context, client cli.HubClient, targets contract.ConfigurationTargets, tested *Tested,
) error {
	const shown = 100
	for {
		found, err := client.ConfigurationTargets(ctx, targets)
		if err != nil {
			return err
		}
		tested.Matched += found.Matched
		tested.IDs = append(tested.IDs, found.IDs[:min(len(found.IDs), shown-len(tested.IDs))]...)
		if targets.After = found.Next; found.Next == "" {
			return nil
		}
	}
}

func (c commands) printTested(tested Tested) error {
	err := c.Print(tested, func(w io.Writer) {
		if tested.TargetConditionError != nil {
			fmt.Fprintf(w, "The target condition: %s.\n", cli.Printable(*tested.TargetConditionError))
		} else {
			fmt.Fprintf(w, "It would target %d.\n", tested.Matched)
			for _, id := range tested.IDs {
				fmt.Fprintf(w, "  %s\n", cli.Printable(id))
			}
		}
		for name, problem := range tested.CustomMetricQueryErrors {
			fmt.Fprintf(w, "The metric %s: %s.\n", cli.Printable(name), cli.Printable(problem))
		}
	})
	if err == nil && (tested.TargetConditionError != nil || len(tested.CustomMetricQueryErrors) > 0) {
		err = errors.New("the configuration would be refused")
	}
	return err
}

func (c commands) configurationApply() *cobra.Command {
	var flags configurationFlags
	command := c.inHub(&cobra.Command{
		Use:   "apply DEVICE",
		Short: "Write content to the modules of one IoT Edge device",
		Long: `Writes modulesContent into the desired properties of the modules of one IoT Edge
device, and makes the modules that are missing. It stays until a deployment that
targets the device is evaluated.`,
		Example: "  berth configuration apply gateway-1 --content @deployment.json",
		Args:    cli.ExactArgs("DEVICE"),
	}, func(ctx context.Context, client cli.HubClient, id string) error {
		_, content, err := readContent(flags.content)
		if err != nil {
			return err
		}
		return client.ApplyConfigurationContent(ctx, id, content)
	})
	flags.addContent(command)
	return command
}
