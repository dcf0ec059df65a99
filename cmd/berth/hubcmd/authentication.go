package hubcmd

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/hub/identity"
)

// authenticationFlags are what can be said on the command line of how a device or module
// proves itself.
type authenticationFlags struct {
	authentication    string
	keys, thumbprints [2]string // primary and secondary
}

func (f *authenticationFlags) flags(command *cobra.Command, ways ...cobra.Completion) {
	flags := command.Flags()
	flags.StringVar(&f.authentication, "authentication", "", "how it proves itself: sas (keys), selfSigned (a "+
		"certificate, by its thumbprint), certificateAuthority or none; by default as the flags below say")
	flags.StringVar(&f.keys[0], "primary-key", "", "its primary `key`, base64 of 16 to 64 bytes, or @FILE that holds "+
		"it; keys are made unless they are given")
	flags.StringVar(&f.keys[1], "secondary-key", "", "its secondary `key`")
	flags.StringVar(&f.thumbprints[0], "thumbprint", "", "`hexadecimal` SHA-256 or SHA-1 thumbprint of its certificate")
	flags.StringVar(&f.thumbprints[1], "secondary-thumbprint", "", "`hexadecimal` thumbprint of a certificate to roll "+
		"over to; '' removes it")
	command.RegisterFlagCompletionFunc("authentication", cobra.FixedCompletions(ways, cobra.ShellCompDirectiveNoFileComp))
}

// apply returns how an identity authenticates once it is as the flags say. present is how
// it does now, nil for a new one.
func (f *authenticationFlags) apply(
	changed func(string) bool, present *identity.Authentication,
) (*identity.Authentication, error) {
	before := identity.Authentication{Type: identity.SAS}
	if present != nil {
		before = *present
	}
	keys := changed("primary-key") || changed("secondary-key")
	thumbprints := changed("thumbprint") || changed("secondary-thumbprint")
	wanted := before.Type
	switch {
	case changed("authentication"):
		wanted = identity.AuthenticationType(f.authentication)
	case keys:
		wanted = identity.SAS
	case thumbprints:
		wanted = identity.SelfSigned
	}
	switch {
	case keys && wanted != identity.SAS:
		return nil, cli.UsageError(errors.New(
			"--primary-key and --secondary-key are of one with the authentication sas"))
	case thumbprints && wanted != identity.SelfSigned:
		return nil, cli.UsageError(errors.New("--thumbprint and --secondary-thumbprint are of one " +
			"with the authentication selfSigned"))
	}
	after := identity.Authentication{Type: wanted}
	if wanted == before.Type {
		after = before
	}
	pair, prints := &after.SymmetricKey, &after.X509Thumbprint
	for _, each := range []struct {
		flag, value string
		secret      bool
		into        **string
	}{
		{"primary-key", f.keys[0], true, &pair.PrimaryKey}, {"secondary-key", f.keys[1], true, &pair.SecondaryKey},
		{"thumbprint", f.thumbprints[0], false, &prints.PrimaryThumbprint},
		{"secondary-thumbprint", f.thumbprints[1], false, &prints.SecondaryThumbprint},
	} {
		if !changed(each.flag) {
			continue
		}
		value := each.value
		if each.secret {
			var err error
			if value, err = cli.ReadSecret(value); err != nil {
				return nil, err
			}
		}
		*each.into = optional(value)
	}
	if (pair.PrimaryKey == nil) != (pair.SecondaryKey == nil) {
		err := errors.New("there are two keys: give --primary-key and --secondary-key, or none to have both made")
		return nil, cli.UsageError(err)
	}
	return &after, nil
}
