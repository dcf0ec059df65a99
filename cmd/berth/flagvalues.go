package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/hub/throttle"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/exchange"
)

// choice is the values that flags of a name take, on whichever command.
type choice struct {
	values []string
	empty  bool // also none
	fold   bool // in any case
}

// choices are checked before a command begins, and complete in the shell.
var choices = map[string]choice{
	"output":              {values: []string{"table", "json"}},
	"role":                {values: []string{"operator", "reader"}},
	"provisioning-status": {values: []string{"enabled", "disabled"}},
	"status":              {values: []string{"enabled", "disabled"}},
	"job-type":            {values: []string{"scheduleUpdateTwin", "scheduleDeviceMethod"}, empty: true, fold: true},
	"job-status": {values: []string{"scheduled", "queued", "running", "completed", "failed", "cancelled"}, empty: true,
		fold: true},
	"authentication": {values: []string{"sas", "selfSigned", "certificateAuthority", "none"}},
	// az writes small letters.
	"allocation-policy":  {values: cli.Strings(allocation.Policies()), empty: true, fold: true},
	"reprovision-policy": {values: []string{"migrate", "reset", "never"}},
	"registration":       {values: []string{"instant", "paced"}},
	"fidelity":           {values: []string{"berth", "azure"}},
	"tier":               {values: cli.Strings(throttle.Tiers)},
	"key-type": {values: cli.Strings([]credential.KeyType{credential.RSA4096, credential.RSA2048,
		credential.EC256})},
	"key-types": {values: issuance.KeyTypes, empty: true},
	"kind":      {values: cli.Strings(audit.Kinds), empty: true},
	"format":    {values: []string{string(exchange.JSON), string(exchange.CSV)}, empty: true, fold: true},
	"mode":      {values: cli.Strings(exchange.Modes)},
	"rights": {values: []string{provisioning.ServiceConfig, provisioning.EnrollmentRead, provisioning.EnrollmentWrite,
		provisioning.RegistrationStatusRead, provisioning.RegistrationStatusWrite}, fold: true},
}

// interval is the numbers that flags of a name take; of times, in seconds.
type interval struct{ least, most int }

// intervals are checked before a command begins.
var intervals = map[string]interval{
	"max":                             {0, math.MaxInt},
	"messages":                        {0, math.MaxInt},
	"max-connections":                 {0, math.MaxInt},
	"telemetry-partitions":            {1, 128},
	"registrations-per-minute":        {0, math.MaxInt},
	"device-registrations-per-minute": {0, math.MaxInt},
	"operations-per-minute":           {0, math.MaxInt},
	"mqtt-port":                       {0, 65535},
	"amqp-port":                       {0, 65535},
	"https-port":                      {0, 65535},
	"portal-port":                     {0, 65535},
	"weight":                          {0, 1000},
	"times":                           {1, 1_000_000},
	"days":                            {1, 36_500},
	"for":                             {1, 600},
	"validity":                        {60, 365 * 24 * 3600},
}

// wholeSeconds are flags whose times the service takes in seconds.
var wholeSeconds = map[string]bool{"for": true}

// identifiers are flags that narrow down what a command is for, and what they name. An empty
// one is that of a script whose variable is not set, and would be for all.
var identifiers = map[string]string{"device": "the id of a device", "group": "the id of an enrollment group"}

// jsonFlags are those that take JSON, or @FILE.
var jsonFlags = map[string]bool{"initial-twin": true, "tags": true, "desired": true, "payload": true,
	"method-payload": true}

// checkFlags refuses what flags were given and can't be, before anything is done.
func checkFlags(command *cobra.Command) (wrong error) {
	command.Flags().Visit(func(flag *pflag.Flag) {
		if wrong != nil {
			return
		}
		if choice, ok := choices[flag.Name]; ok {
			wrong = choice.check(flag)
		}
		if interval, ok := intervals[flag.Name]; ok {
			wrong = interval.check(flag)
		}
		if wrong == nil && wholeSeconds[flag.Name] {
			wrong = checkWholeSeconds(flag)
		}
		if what, ok := identifiers[flag.Name]; ok && flag.Value.String() == "" {
			wrong = cli.UsageError(fmt.Errorf("--%s must be %s, and is empty", flag.Name, what))
		}
		if value := flag.Value.String(); jsonFlags[flag.Name] && value != "" {
			_, wrong = cli.ReadJSON(flag.Name, value)
		}
	})
	return wrong
}

func (c choice) check(flag *pflag.Flag) error {
	values := []string{flag.Value.String()}
	if several, ok := flag.Value.(pflag.SliceValue); ok {
		values = several.GetSlice()
	}
	for _, value := range values {
		if value == "" && c.empty || slices.ContainsFunc(c.values, func(known string) bool {
			return known == value || c.fold && strings.EqualFold(known, value)
		}) {
			continue
		}
		return cli.UsageError(fmt.Errorf("--%s must be %s, not %q", flag.Name, oneOf(c.values), value))
	}
	return nil
}

// oneOf lists values as a sentence does.
func oneOf(values []string) string {
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

func (i interval) check(flag *pflag.Flag) error {
	value, shown := int64(0), func(n int) string { return strconv.Itoa(n) }
	switch flag.Value.Type() {
	case "int":
		value, _ = strconv.ParseInt(flag.Value.String(), 10, 64) // the flag has read it
	case "duration":
		lasting, _ := time.ParseDuration(flag.Value.String())
		value = int64(lasting.Round(time.Second) / time.Second)
		shown = func(n int) string { return shortly(time.Duration(n) * time.Second) }
		if lasting < time.Duration(i.least)*time.Second {
			value = int64(i.least) - 1
		}
	default:
		return nil
	}
	if value >= int64(i.least) && value <= int64(i.most) {
		return nil
	}
	if i.most == math.MaxInt {
		return cli.UsageError(fmt.Errorf("--%s must be %s or more, not %s", flag.Name, shown(i.least), flag.Value))
	}
	return cli.UsageError(fmt.Errorf("--%s must be %s to %s, not %s", flag.Name, shown(i.least), shown(i.most),
		flag.Value))
}

// checkWholeSeconds refuses a fraction of a second, which would be dropped.
func checkWholeSeconds(flag *pflag.Flag) error {
	lasting, err := time.ParseDuration(flag.Value.String())
	if err != nil || lasting%time.Second == 0 {
		return nil // the flag has read it
	}
	return cli.UsageError(fmt.Errorf("--%s must be whole seconds, not %s", flag.Name, flag.Value))
}

// shortly is a duration without the parts that are zero: 24h and not 24h0m0s.
func shortly(d time.Duration) string {
	text := d.String()
	if text = strings.TrimSuffix(text, "m0s") + "m"; !strings.HasSuffix(d.String(), "m0s") {
		return d.String()
	}
	if shorter, ok := strings.CutSuffix(text, "h0m"); ok {
		return shorter + "h"
	}
	return text
}

// checkText refuses arguments that are not UTF-8, as a terminal with another encoding
// writes them: their letters would be lost on the way. Names of files may be anything.
func checkText(args []string) error {
	for _, arg := range args {
		if utf8.ValidString(arg) {
			continue
		}
		_, value, _ := strings.Cut(arg, "=")
		for _, file := range []string{arg, value, strings.TrimPrefix(arg, "@"), strings.TrimPrefix(value, "@")} {
			if _, err := os.Lstat(file); file != "" && err == nil {
				return nil
			}
		}
		return cli.Advise(cli.UsageError(fmt.Errorf("the argument %q is not UTF-8", arg)),
			"Set the terminal to UTF-8, or give the value in a file: @FILE.")
	}
	return nil
}
