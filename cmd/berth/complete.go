package main

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-iot/berth/access"
	"github.com/berth-iot/berth/authority"
	"github.com/berth-iot/berth/backend"
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/issuance"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/allocation"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/guard"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/provisioning/linkedhub"
	"github.com/berth-iot/berth/server"
)

const (
	// completionTimeout bounds how long a shell waits for names: a person has pressed a
	// key and looks at a cursor.
	completionTimeout = 2 * time.Second
	completionsShown  = 200
)

// names are those of one sort that begin with a text, as the server of a command has
// them. An error is the same as none: a shell has no place to show it.
type names func(ctx context.Context, c *program, command *cobra.Command, begun string) ([]string, error)

// completeFiles leaves a value to the shell, which knows the files.
var completeFiles names

// argumentNames say how arguments complete, by the path of the command and the name of
// the argument. What a command makes anew has no names.
var argumentNames = map[string]names{
	"enrollment show ID":   enrollmentNames,
	"enrollment update ID": enrollmentNames,
	"enrollment delete ID": enrollmentNames,
	"enrollment create ID": nil,

	"group show ID":                    groupNames,
	"group update ID":                  groupNames,
	"group delete ID":                  groupNames,
	"group create ID":                  nil,
	"group device-key GROUP":           groupNames,
	"group device-key REGISTRATION-ID": registrationNames,

	"registration show ID":   registrationNames,
	"registration delete ID": registrationNames,

	"device show ID":              deviceIDs,
	"device delete ID":            deviceIDs,
	"device twin ID":              deviceIDs,
	"device update ID":            deviceIDs,
	"device enable ID":            deviceIDs,
	"device disable ID":           deviceIDs,
	"device connection-string ID": deviceIDs,
	"device sas-token ID":         deviceIDs,
	"device create ID":            nil,
	"c2d send ID":                 deviceIDs,
	"c2d purge ID":                deviceIDs,
	"method invoke ID":            deviceIDs,
	"method invoke NAME":          nil,
	"job show ID":                 jobIDs,
	"job devices ID":              jobIDs,
	"job cancel ID":               jobIDs,
	"job create ID":               nil,

	"configuration show ID":           configurationNames,
	"configuration update ID":         configurationNames,
	"configuration delete ID":         configurationNames,
	"configuration show-metric ID":    configurationNames,
	"configuration create ID":         nil,
	"configuration apply DEVICE":      deviceIDs,
	"module list DEVICE":              deviceIDs,
	"module create DEVICE":            deviceIDs,
	"module show DEVICE":              deviceIDs,
	"module update DEVICE":            deviceIDs,
	"module delete DEVICE":            deviceIDs,
	"module connection-string DEVICE": deviceIDs,
	"module create MODULE":            nil,
	"module show MODULE":              nil,
	"module update MODULE":            nil,
	"module delete MODULE":            nil,
	"module connection-string MODULE": nil,
	"query QUERY":                     nil,
	"index create PATH":               nil,
	"index delete PATH":               indexPaths,
	"digital-twin show ID":            deviceIDs,
	"digital-twin update ID":          deviceIDs,
	"digital-twin invoke ID":          deviceIDs,
	"digital-twin invoke COMMAND":     nil,

	"authority show NAME":   authorityNames,
	"authority code NAME":   authorityNames,
	"authority verify NAME": authorityNames,
	"authority delete NAME": authorityNames,
	"authority create NAME": authorityNames, // which replaces one too

	"policy show NAME":                        policyNames,
	"policy rights NAME":                      policyNames,
	"policy regenerate-key NAME":              policyNames,
	"policy delete NAME":                      policyNames,
	"policy create NAME":                      nil,
	"policy regenerate-key primary|secondary": fixedNames("primary", "secondary"),
	"credential policy set NAME":              credentialPolicyNames,
	"credential policy delete NAME":           credentialPolicyNames,
	"credential authority revoke NAME":        issuerNames,
	"credential authority activate NAME":      issuerNames,
	"credential authority activate FILE":      completeFiles,
	"credential authority delete NAME":        issuerNames,
	"credential authority request NAME":       nil,
	"credential authority rotate NAME":        issuerNames,
	"audit items NAME":                        nil,
	"credential authority create NAME":        nil,
	"credential revoke THUMBPRINT":            thumbprintNames,
	"hub create NAME":                         nil,
	"hub link HUB":                            linkedHubNames,
	"hub unlink HUB":                          linkedHubNames,
	"hub show HUB":                            linkedHubNames,
	"network set PREFIX":                      networkNames,
	"network delete PREFIX":                   networkNames,
	"lockout lift SOURCE":                     lockoutNames,
	"inject stop ID":                          injectedFaultNames,
	"inject hub stop ID":                      nil, // they are few, and listed with their ids
	"attempts ID":                             registrationNames,
	"allocate ID":                             enrollmentNames,
	"data dump log NAME":                      logNames,
	"data unreadable delete COLLECTION":       unreadableCollections,
	"data unreadable delete RECORD":           unreadableRecords,
	"cert device CN":                          nil,
	"cert check CHAIN":                        completeFiles,
	"explain FILE":                            completeFiles,
	"enrollment import FILE":                  completeFiles,
	"enrollment export FILE":                  completeFiles,
	"group import FILE":                       completeFiles,
	"group export FILE":                       completeFiles,
}

// flagNames say how flags complete whose values are names on the server, by the name of
// the flag, or by the path of the command and it.
var flagNames = map[string]names{
	"hub":                             linkedHubNames,
	"hubs":                            linkedHubNames,
	"map-hub":                         nil,
	"common-name":                     nil,
	"to":                              issuerNames,
	"group":                           groupNames,
	"device":                          registrationNames,
	"telemetry tail device":           deviceIDs,
	"inject hub fail device":          deviceIDs,
	"inject hub throttle device":      deviceIDs,
	"inject hub delay device":         deviceIDs,
	"inject hub drop device":          deviceIDs,
	"inject hub refuse device":        deviceIDs,
	"events tail device":              deviceIDs,
	"parent":                          deviceIDs,
	"authority":                       authorityNames,
	"authority-secondary":             authorityNames,
	"credential policy set authority": issuerNames,
	"credential-policy":               credentialPolicyNames,
	"registration-id":                 registrationNames,
	"device simulate registration-id": enrollmentNames,
	"device create parent":            deviceIDs,
	"prefix":                          nil,
	"id":                              nil,
	"actor":                           nil,
	"device-id":                       nil,
	"address":                         nil,
	"hub-address":                     nil,
	"location":                        nil,
	"etag":                            nil,
	"target-condition":                nil,
	"initial-twin":                    nil,
	"message-id":                      nil,
	"module":                          nil,
	"managed-by":                      nil,
	"correlation-id":                  nil,
	"pass-phrase":                     nil,
	"thumbprint":                      nil,
	"secondary-thumbprint":            nil,
	"webhook":                         nil,
	"hub-host":                        nil,
	"component":                       nil,
	"host":                            nil,
	"since":                           nil,
	"at":                              nil,
}

// fileArguments are arguments that the shell completes.
var fileArguments = map[string]bool{"FILE": true, "CHAIN": true}

// commandPath is the path of a command without the program.
func commandPath(command *cobra.Command) string {
	_, path, _ := strings.Cut(command.CommandPath(), " ")
	return path
}

// argumentsOf are the names of the arguments in the usage of a command, without flags
// and what stands in place of others.
func argumentsOf(command *cobra.Command) (arguments []string) {
	for _, word := range strings.Fields(command.Use)[1:] {
		word = strings.Trim(word, "[]()")
		if strings.HasPrefix(word, "-") || word == "|" {
			break // flags, which have values of their own
		}
		arguments = append(arguments, word)
	}
	return arguments
}

// completeArguments gives every command the names of its arguments.
func (c *program) completeArguments(command *cobra.Command) {
	for _, sub := range command.Commands() {
		c.completeArguments(sub)
	}
	arguments := argumentsOf(command)
	if command.ValidArgsFunction != nil || command.HasSubCommands() && len(arguments) == 0 {
		return
	}
	command.ValidArgsFunction = func(command *cobra.Command, args []string, begun string,
	) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(arguments) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if fileArguments[arguments[len(args)]] {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return c.complete(argumentNames[commandPath(command)+" "+arguments[len(args)]], command, begun)
	}
}

// completeFlags gives the flags of every command their values.
func (c *program) completeFlags(command *cobra.Command) {
	for _, sub := range command.Commands() {
		c.completeFlags(sub)
	}
	command.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		of, ok := flagNames[commandPath(command)+" "+flag.Name]
		if !ok {
			of, ok = flagNames[flag.Name]
		}
		if choice, chosen := choices[flag.Name]; chosen {
			of, ok = fixedNames(choice.values...), true
		}
		if !ok {
			return // a file, or what is only known to the person
		}
		complete := func(command *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
			if flag.Value.Type() != "stringSlice" {
				return c.complete(of, command, begun)
			}
			// The last of several, with commas between.
			before := begun[:strings.LastIndexByte(begun, ',')+1]
			found, directive := c.complete(of, command, begun[len(before):])
			for i := range found {
				found[i] = before + found[i]
			}
			return found, directive
		}
		command.RegisterFlagCompletionFunc(flag.Name, complete)
	})
}

// complete asks the server, for no longer than a person waits.
func (c *program) complete(of names, command *cobra.Command, begun string) ([]string, cobra.ShellCompDirective) {
	if of == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx := command.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.completionTimeout, completionTimeout))
	defer cancel()
	found, err := of(ctx, c, command, begun)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var shown []string
	for _, name := range found {
		if len(shown) < completionsShown && strings.HasPrefix(name, begun) && cli.Printable(name) == name {
			shown = append(shown, name)
		}
	}
	return shown, cobra.ShellCompDirectiveNoFileComp
}

// listOf is a list of the provisioning service, of which names are taken.
type listOf[T any] func(service *backend.Provisioning, ctx context.Context, begun string) ([]T, error)

// ofService are names that a list of the provisioning service has.
func ofService[T any](list listOf[T], name func(T) string) names {
	return func(ctx context.Context, c *program, _ *cobra.Command, begun string) ([]string, error) {
		service, err := c.Target.Provisioning()
		if err != nil {
			return nil, err
		}
		defer service.Close()
		items, err := list(service, ctx, begun)
		found := make([]string, len(items))
		for i, item := range items {
			found[i] = name(item)
		}
		return found, err
	}
}

// paged is a list by prefix, of which the first page is enough.
func paged[T any](list func(service *backend.Provisioning, ctx context.Context, prefix, after string, top int,
) ([]T, string, error)) listOf[T] {
	return func(service *backend.Provisioning, ctx context.Context, begun string) ([]T, error) {
		items, _, err := list(service, ctx, begun, "", completionsShown)
		return items, err
	}
}

// whole is a list without pages.
func whole[T any](list func(service *backend.Provisioning, ctx context.Context) ([]T, error)) listOf[T] {
	return func(service *backend.Provisioning, ctx context.Context, _ string) ([]T, error) {
		return list(service, ctx)
	}
}

// issued is the first page of the operational certificates, which have no prefix.
func issued(service *backend.Provisioning, ctx context.Context, _ string) ([]issuance.Certificate, error) {
	found, _, err := service.IssuedCertificates(ctx, "", completionsShown)
	return found, err
}

// dps is shorter than the type whose methods are lists.
type dps = backend.Provisioning

var (
	enrollmentNames = ofService(paged((*dps).Enrollments), func(e enroll.Enrollment) string {
		return e.RegistrationID
	})
	groupNames = ofService(paged((*dps).Groups), func(g enroll.Group) string {
		return g.EnrollmentGroupID
	})
	registrationNames = ofService(paged((*dps).Registrations), func(r provisioning.Registration) string {
		return r.RegistrationID
	})
	authorityNames = ofService(paged((*dps).Authorities), func(a authority.Authority) string { return a.Name })

	policyNames = ofService(whole((*dps).Policies), func(p access.Policy) string {
		return p.Name
	})
	credentialPolicyNames = ofService(whole((*dps).CredentialPolicies),
		func(p issuance.Policy) string { return p.Name })
	issuerNames = ofService(whole((*dps).IssuingAuthorities), func(a issuance.Authority) string {
		return a.Name
	})
	thumbprintNames    = ofService(issued, func(i issuance.Certificate) string { return i.Thumbprint })
	networkNames       = ofService(whole((*dps).Networks), func(n allocation.Network) string { return n.Prefix })
	lockoutNames       = ofService(whole((*dps).LockedOut), func(l guard.LockedOut) string { return l.Source })
	injectedFaultNames = ofService(whole((*dps).InjectedFaults), func(m inject.Fault) string {
		return m.ID
	})
	linkedHosts = ofService(whole((*dps).HubLinks), func(l linkedhub.Link) string { return l.HostName })
)

func fixedNames(values ...string) names {
	return func(context.Context, *program, *cobra.Command, string) ([]string, error) { return values, nil }
}

// logNames are the logs in the data folder.
func logNames(_ context.Context, c *program, _ *cobra.Command, _ string) ([]string, error) {
	return server.LogNames(c.Target.DataDir()), nil
}

// linkedHubNames are the linked hubs: those of the server by their names, others by their
// hosts.
func linkedHubNames(ctx context.Context, c *program, command *cobra.Command, begun string) ([]string, error) {
	info, _ := c.Target.Info() // one elsewhere has none here
	named := make(map[string]bool)
	var found []string
	if c.Target.ConnectionString == "" {
		for _, h := range info.Hubs {
			named[strings.ToLower(h.Host)] = true
			found = append(found, h.Name)
		}
	}
	linked, err := linkedHosts(ctx, c, command, begun)
	for _, host := range linked {
		if !named[strings.ToLower(host)] {
			found = append(found, host)
		}
	}
	if len(found) > 0 {
		err = nil
	}
	return found, err
}

// jobIDs are jobs of the hub of --hub.
func jobIDs(ctx context.Context, c *program, command *cobra.Command, begun string) (found []string, _ error) {
	client, err := c.Target.Hub(command.Flag("hub").Value.String())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	jobs, _, err := client.Jobs(ctx, "", "", "", completionsShown)
	for _, job := range jobs {
		if strings.HasPrefix(job.JobID, begun) {
			found = append(found, job.JobID)
		}
	}
	return found, err
}

// configurationNames are the configurations of the hub of --hub, or of the only one.
func configurationNames(ctx context.Context, c *program, command *cobra.Command, begun string) ([]string, error) {
	client, err := c.Target.Hub(command.Flags().Lookup("hub").Value.String())
	if err != nil {
		return nil, err
	}
	found, err := client.Configurations(ctx)
	var ids []string
	for _, one := range found {
		if strings.HasPrefix(one.ID, begun) {
			ids = append(ids, one.ID)
		}
	}
	return ids, err
}

// indexPaths are those of the indexes of the hub of --hub.
func indexPaths(ctx context.Context, c *program, command *cobra.Command, begun string) ([]string, error) {
	client, err := c.Target.Hub(command.Flag("hub").Value.String())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	indexes, err := client.TwinIndexes(ctx)
	var found []string
	for _, index := range indexes {
		if strings.HasPrefix(index.Path, begun) {
			found = append(found, index.Path)
		}
	}
	return found, err
}

// deviceIDs are devices of the hub of --hub, or of all hubs of the server.
func deviceIDs(ctx context.Context, c *program, command *cobra.Command, begun string) ([]string, error) {
	hubs := []string{""}
	if flag := command.Flags().Lookup("hub"); flag != nil && flag.Changed {
		hubs = []string{flag.Value.String()}
	} else if info, err := c.Target.Info(); err == nil && c.Target.ConnectionString == "" {
		hubs = nil
		for _, h := range info.Hubs {
			hubs = append(hubs, h.Name)
		}
	}
	var found []string
	for _, name := range hubs {
		client, err := c.Target.Hub(name)
		if err != nil {
			return found, err
		}
		devices, _, err := client.Devices(ctx, begun, "", completionsShown)
		client.Close()
		if err != nil {
			return found, err
		}
		for _, device := range devices {
			found = append(found, device.DeviceID)
		}
	}
	return found, nil
}

// unreadableCollections and unreadableRecords are what can't be read.
func unreadableCollections(ctx context.Context, c *program, command *cobra.Command, begun string) ([]string, error) {
	return unreadableOf(ctx, c, func(r backend.Unreadable) (string, bool) { return r.Collection, true })
}

func unreadableRecords(ctx context.Context, c *program, command *cobra.Command, begun string) ([]string, error) {
	collection := command.Flags().Arg(0)
	return unreadableOf(ctx, c, func(r backend.Unreadable) (string, bool) { return r.Key, r.Collection == collection })
}

func unreadableOf(ctx context.Context, c *program, name func(backend.Unreadable) (string, bool),
) (found []string, err error) {
	service, err := c.Target.Provisioning()
	if err != nil {
		return nil, err
	}
	defer service.Close()
	records, err := service.Unreadable(ctx)
	seen := make(map[string]bool)
	for _, record := range records {
		if text, ok := name(record); ok && !seen[text] {
			seen[text] = true
			found = append(found, text)
		}
	}
	return found, err
}
