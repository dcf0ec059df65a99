// Command berth runs a Berth server, and manages one by its service API.
//
// Certificates with a negative serial number are common in the field (openssl
// and other makers have produced them), and a device that has one is judged by
// its thumbprint as any other is.
//
//go:debug x509negativeserial=1
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/cmd/berth/hubcmd"
	"github.com/berth-iot/berth/cmd/berth/issuancecmd"
	"github.com/berth-iot/berth/cmd/berth/provisioningcmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run carries out one command line and returns its exit code: 0, 1 for a
// failure, 2 for a command line that is wrong, 3 for a data folder that has lost
// something.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &program{Env: cli.Env{Stdout: stdout, Stderr: stderr}}
	root := c.root()
	if err := checkText(args); err != nil {
		return c.Exit(root, err)
	}
	root.SetArgs(args)
	return c.Exit(root.ExecuteContextC(ctx))
}

// program is one run of berth: what its commands share, and what only the root needs.
type program struct {
	cli.Env

	completionTimeout time.Duration // in place of the constant, when it is not zero
}

func (c *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "berth",
		Short: "A device provisioning service and IoT hub that you run yourself",
		Long: `Berth is a device provisioning service and an IoT hub in one process. Devices
and back ends that use the Azure IoT SDKs work against it unmodified.

  berth demo      shows the whole path once, and leaves nothing behind
  berth up        starts a server; the other commands speak to it`,
		Version:       builtFrom().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	cli.Parent(root)
	root.SetFlagErrorFunc(cli.FlagError)
	root.AddGroup(
		&cobra.Group{ID: cli.StartGroup, Title: "Start:"},
		&cobra.Group{ID: cli.IdentityGroup, Title: "Device identity:"},
		&cobra.Group{ID: cli.LookGroup, Title: "Look:"},
	)
	c.Target.Flags(root.PersistentFlags())
	root.PersistentFlags().VarP(&c.Output, "output", "o", "how to print results: table or json")
	root.AddCommand(c.commands()...)
	root.AddCommand(provisioningcmd.Commands(&c.Env)...)
	root.AddCommand(issuancecmd.Commands(&c.Env)...)
	root.AddCommand(hubcmd.Commands(&c.Env)...)
	for _, command := range root.Commands() {
		if command.Name() == "inject" {
			command.AddCommand(hubcmd.Inject(&c.Env))
		}
	}
	strictCompletion(root)
	root.AddCommand(c.versionCommand())
	suggestSynonyms(root)
	root.SetHelpCommand(helpCommand())
	c.completeFlags(root)
	c.completeArguments(root)
	root.PersistentPreRunE = func(command *cobra.Command, _ []string) error { return checkFlags(command) }
	return root
}

// commands are those about the server as a whole.
func (c *program) commands() []*cobra.Command {
	return slices.Concat(
		cli.InGroup(cli.StartGroup, c.demo(), c.up(), c.info(), c.portal(), c.data()),
		cli.InGroup(cli.LookGroup, c.audit()),
	)
}

// synonyms are words that other programs have for what commands do here.
var synonyms = map[string][]string{
	"create": {"add", "new", "make"},
	"delete": {"remove", "rm"},
	"list":   {"ls"},
	"show":   {"get", "describe"},
	"update": {"edit", "modify", "change"},
	"up":     {"start", "run", "serve", "server"},
	"cert":   {"certificate"},
}

// suggestSynonyms has who writes one of them told what it is called here.
func suggestSynonyms(command *cobra.Command) {
	command.SuggestFor = synonyms[command.Name()]
	for _, sub := range command.Commands() {
		suggestSynonyms(sub)
	}
}

// helpCommand is cobra's help command, which would otherwise answer a command that
// there is not with the help of the whole and success.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show how a command is written",
		RunE: func(command *cobra.Command, args []string) error {
			found, rest, err := command.Root().Find(args)
			if err != nil {
				return cli.UsageError(err)
			}
			if len(rest) > 0 {
				return cli.UnknownCommand(found, rest[0])
			}
			found.InitDefaultHelpFlag()
			found.InitDefaultVersionFlag()
			return found.Help()
		},
		ValidArgsFunction: func(command *cobra.Command, args []string, begun string) ([]string,
			cobra.ShellCompDirective) {
			found, rest, err := command.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range found.Commands() {
				if sub.IsAvailableCommand() && strings.HasPrefix(sub.Name(), begun) {
					names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// strictCompletion adds cobra's completion command, which would otherwise answer
// a shell that it does not know with its help and success.
func strictCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd() // keeps the root's output as it is now
	completion, _, err := root.Find([]string{"completion"})
	if err != nil || completion == root {
		return
	}
	cli.Parent(completion)
	for _, shell := range completion.Commands() {
		shell.Args = cli.ExactArgs()
	}
}
