package provisioningcmd

import (
	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// hideKeys takes the keys from what is shown of an attestation.
func hideKeys(mechanism *enroll.AttestationMechanism) {
	if mechanism.SymmetricKey != nil {
		mechanism.SymmetricKey = new(enroll.SymmetricKeyAttestation)
	}
}

// describeKeys are the keys of an attestation, or how they are asked for: by the
// command show of what has them.
func describeKeys(mechanism enroll.AttestationMechanism, what, id string) []cli.Field {
	switch keys := mechanism.SymmetricKey; {
	case keys == nil:
		return nil
	case keys.PrimaryKey == "" && keys.SecondaryKey == "":
		return []cli.Field{{"Keys", "not shown: berth " + what + " show " + id + " --keys"}}
	default:
		return []cli.Field{{"Primary key", keys.PrimaryKey}, {"Secondary key", keys.SecondaryKey}}
	}
}
