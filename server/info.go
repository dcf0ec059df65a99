package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Info is what devices, back ends and people need to reach a server. It holds
// keys: it is kept in a file that only its owner reads.
type Info struct {
	IDScope                      string    `json:"idScope"`
	ProvisioningHost             string    `json:"provisioningHost"`
	CAFile                       string    `json:"caFile"` // the authority to trust
	PortalURL                    string    `json:"portalUrl"`
	ProvisioningConnectionString string    `json:"provisioningConnectionString"`
	Ports                        Ports     `json:"ports"`
	Hubs                         []HubInfo `json:"hubs"`
}

// Ports are where a server listens; 0 is nowhere.
type Ports struct {
	MQTT   int `json:"mqtt"`
	AMQP   int `json:"amqp"`
	HTTPS  int `json:"https"`
	Portal int `json:"portal"`
}

// HubInfo is one hub of a server.
type HubInfo struct {
	Name             string `json:"name"`
	Host             string `json:"host"`
	ConnectionString string `json:"connectionString"` // of the policy iothubowner
}

func infoFile(dataDir string) string { return filepath.Join(dataDir, "info.json") }

// ReadInfo returns the Info of the server that uses a data folder, or used it
// last. It returns ErrNeverUsed when there is none.
func ReadInfo(dataDir string) (info Info, err error) {
	text, err := os.ReadFile(infoFile(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return info, neverUsedError(dataDir)
	}
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return info, fmt.Errorf("%s is damaged: %w", infoFile(dataDir), err)
	}
	return info, nil
}

// ErrNeverUsed is in the error of a data folder that no server has started on.
var ErrNeverUsed = errors.New("no server has used the folder")

func neverUsedError(dataDir string) error { return fmt.Errorf("%w %s", ErrNeverUsed, dataDir) }

func (i Info) write(dataDir string) error {
	text, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(infoFile(dataDir), append(text, '\n'), 0o600)
}

// policiesChanged writes down anew how the server is reached: a key in there may
// be another now.
func (s *Server) policiesChanged() {
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.describe(context.Background()); err != nil {
		s.config.Logger.Error("the data folder has an old key", "error", err)
	}
}
