package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/job"
	"github.com/berth-iot/berth/hub/throttle"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/server"
)

// limitFlags say how much and how fast the provisioning service and the hubs let things
// happen.
type limitFlags struct {
	fidelity                          string
	registrations, operations, device int
	lockout                           string
	tier                              string
	units                             int
}

func (f *limitFlags) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.fidelity, "fidelity", "berth",
		"berth (no limits but those of the machine) or azure: impose the limits, throttles, pacing and forms of "+
			"requests that Azure documents, so that what fails there fails here first, "+
			"and let a group's device take any device id")
	flags.StringVar(&f.tier, "tier", "S1",
		"with --fidelity azure: the `tier` of Azure IoT Hub whose throttles bound each hub, F1, B1 to B3 or S1 to S3")
	flags.IntVar(&f.units, "units", 1, "with --fidelity azure: the units of that tier that each hub has")
	flags.IntVar(&f.registrations, "registrations-per-minute", 0,
		"take at most so many registrations a minute from all devices; more are answered 429 (0 means unlimited)")
	flags.IntVar(&f.device, "device-registrations-per-minute", 0,
		"take at most so many registrations a minute from one device (0 means unlimited)")
	flags.IntVar(&f.operations, "operations-per-minute", 0,
		"take at most so many operations of the service API a minute (0 means unlimited)")
	flags.StringVar(&f.lockout, "lockout", "",
		"after so many failed attestations from an address in a time, "+
			"lock it out for a time: `N/WITHIN:FOR`, such as 20/1m:10m")
}

func (f *limitFlags) apply(command *cobra.Command, config *server.Config) error {
	changed := command.Flags().Changed
	if f.fidelity == "azure" {
		config.Limits, config.Replace, config.Exact = provisioning.AzureLimits, true, true
		config.Jobs = job.AzureLimits
		config.HubSize = throttle.Size{Tier: throttle.Tier(f.tier), Units: f.units}
		if err := config.HubSize.Check(); err != nil {
			return cli.UsageError(fmt.Errorf("--tier %s --units %d: %w", f.tier, f.units, fault.ReasonOf(err)))
		}
		if !changed("registration") {
			config.Pace = provisioning.Paced
		}
	}
	if f.fidelity != "azure" && (changed("tier") || changed("units")) {
		return cli.UsageError(errors.New("--tier and --units are for --fidelity azure"))
	}
	for name, limit := range map[string]struct {
		given int
		into  *int
	}{
		"registrations-per-minute":        {f.registrations, &config.Limits.RegistrationsPerMinute},
		"device-registrations-per-minute": {f.device, &config.Limits.DevicePerMinute},
		"operations-per-minute":           {f.operations, &config.Limits.OperationsPerMinute},
	} {
		if changed(name) {
			*limit.into = limit.given
		}
	}
	if f.lockout == "" {
		return nil
	}
	lockout, err := parseLockout(f.lockout)
	config.Limits.Lockout = lockout
	return err
}

// parseLockout reads N/WITHIN:FOR.
func parseLockout(text string) (lockout guard.Lockout, err error) {
	count, times, _ := strings.Cut(text, "/")
	within, lasting, _ := strings.Cut(times, ":")
	var failed [3]error
	lockout.Failures, failed[0] = strconv.Atoi(count)
	lockout.Within, failed[1] = time.ParseDuration(within)
	lockout.For, failed[2] = time.ParseDuration(lasting)
	if errors.Join(failed[:]...) != nil || lockout.Failures < 1 || lockout.Within <= 0 || lockout.For <= 0 {
		return lockout, cli.UsageError(fmt.Errorf("--lockout must be written N/WITHIN:FOR, such as 20/1m:10m, not %q",
			text))
	}
	return lockout, nil
}
