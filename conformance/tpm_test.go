//go:build conformance

package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
	"github.com/berth-iot/berth/fault"
)

// installTPM makes Debian's software TPM, unless it is there.
func installTPM() error {
	if _, err := exec.LookPath("swtpm"); err == nil {
		return nil
	}
	fmt.Println("conformance: set-up: apt-get install swtpm")
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", "swtpm"}} {
		if output, err := exec.Command("apt-get", append([]string{"-qq"}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("swtpm is not there and can't be installed: apt-get install swtpm, as root: %w\n%s", err,
				output)
		}
	}
	return nil
}

// startTPM starts a software TPM with seeds of its own, which ends with the test,
// and returns its socket.
func startTPM(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "swtpm") // not the test's, whose name is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	process := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+
		socket, "--flags", "not-need-init,startup-clear")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Process.Kill()
		process.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return socket
		}
		if time.Now().After(deadline) {
			t.Fatal("swtpm has not opened its socket in 10 s")
		}
	}
}

// newTPM makes the keys of a software TPM ready.
func newTPM(t *testing.T, keys device.TPMKeyType) *device.TPM {
	t.Helper()
	conn, err := net.Dial("unix", startTPM(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	tpm, err := device.OpenTPM(transport.FromReadWriteCloser(conn), keys)
	if err != nil {
		t.Fatal(err)
	}
	return tpm
}

// TestTPM provisions devices with software TPMs, which then send to their hub.
func TestTPM(t *testing.T) {
	if err := installTPM(); err != nil {
		t.Fatal(err)
	}
	s := start(t, build(t), t.TempDir(), t.TempDir(), "instant")
	authority, err := os.ReadFile(s.info.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	ctx, cancel := context.WithTimeout(t.Context(), programTimeout)
	defer cancel()

	for name, keys := range map[string]device.TPMKeyType{"rsa": device.TPMRSA, "ecc": device.TPMECC} {
		t.Run(name, func(t *testing.T) {
			tpm := newTPM(t, keys)
			id := tpm.RegistrationID()
			s.berth(t, nil, "enrollment", "create", id, "--tpm", tpm.EndorsementKey())
			options := device.ProvisioningOptions{Host: s.info.ProvisioningHost, IDScope: s.info.IDScope,
				RegistrationID: id, TPM: tpm, RootCAs: roots}

			// Twice, as a device that restarts does: each time by a challenge of its own.
			for range 2 {
				registration, err := device.Provision(ctx, options)
				if err != nil {
					t.Fatal(err)
				}
				state := registration.RegistrationState
				client, err := device.Connect(ctx,
					device.HubOptions{Host: state.AssignedHub, DeviceID: state.DeviceID, TPM: tpm, RootCAs: roots})
				if err != nil {
					t.Fatal(err)
				}
				if err := client.Send(ctx, device.Message{Payload: []byte(`{"tpm":"` + name + `"}`)}); err != nil {
					t.Error(err)
				}
				client.Close()
			}
			var messages []message
			s.berth(t, &messages, "telemetry", "tail", "--device", id, "--from", "earliest", "--max", "2")
			if len(messages) != 2 {
				t.Errorf("%d messages arrived, want 2", len(messages))
			}

			other := options
			other.TPM = newTPM(t, keys)
			var refusal *fault.Error
			if _, err := device.Provision(ctx, other); !errors.As(err, &refusal) ||
				refusal.Code != fault.UnauthorizedAccess {
				t.Errorf("another TPM: got %v, want 401002", err)
			}
			if check := lastCheck(t, s, id); check != "enrolled endorsement key" {
				t.Errorf("another TPM failed at %q", check)
			}
			impostor(t, s, roots, id, tpm, other.TPM)
		})
	}
	t.Run("berth device simulate", func(t *testing.T) { simulatedTPM(t, s) })
	t.Run("node", func(t *testing.T) { s.run(t, node("--test", "tpm.test.js"), "SWTPM="+startTPM(t)) })
	s.stop(t)
}

// impostor shows the public keys of a TPM, which are no secret, and has another:
// that can't open the challenge, and what it answers is not taken.
func impostor(t *testing.T, s *server, roots *x509.CertPool, id string, enrolled, own *device.TPM) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		Timeout: programTimeout}
	defer client.CloseIdleConnections()
	register := func(token string) (status int, challenge struct{ AuthenticationKey []byte }) {
		t.Helper()
		body := fmt.Sprintf(`{"registrationId":%q,"tpm":{"endorsementKey":%q,"storageRootKey":%q}}`, id,
			enrolled.EndorsementKey(), enrolled.StorageRootKey())
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut,
			"https://"+s.info.ProvisioningHost+"/"+s.info.IDScope+"/registrations/"+id+
				"/register?api-version=2021-06-01", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", token)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if err := json.NewDecoder(answer.Body).Decode(&challenge); err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, challenge
	}
	status, challenge := register("")
	if err := own.Activate(challenge.AuthenticationKey); status != http.StatusUnauthorized || err == nil {
		t.Errorf("answered %d, and another TPM opens the challenge: %v", status, err)
	}
	token, err := credential.NewToken(s.info.IDScope+"/registrations/"+id, "registration", credential.NewKey(32),
		time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := register(token); status != http.StatusUnauthorized {
		t.Errorf("the answer of another TPM is answered %d", status)
	}
	if check := lastCheck(t, s, id); check != "challenge" {
		t.Errorf("the answer of another TPM failed at %q", check)
	}
}

// simulatedTPM follows what the command line says: a device that is not enrolled
// is told how it is, and then comes in.
func simulatedTPM(t *testing.T, s *server) {
	simulate := []string{"device", "simulate", "--tpm", startTPM(t), "--messages", "1", "--data", s.data}
	refused, err := exec.Command(s.binary, simulate...).CombinedOutput()
	if err == nil {
		t.Fatalf("a TPM that is not enrolled came in:\n%s", refused)
	}
	advice := regexp.MustCompile(`berth (enrollment create \S+ --tpm \S+)`).FindSubmatch(refused)
	if advice == nil {
		t.Fatalf("there is no word of how to enroll the TPM:\n%s", refused)
	}
	s.berth(t, nil, strings.Fields(string(advice[1]))...)
	if output, err := exec.Command(s.binary, simulate...).CombinedOutput(); err != nil ||
		!strings.Contains(string(output), "done sending message #1") {
		t.Errorf("%v\n%s", err, output)
	}
}

// lastCheck returns the check at which a device was refused last.
func lastCheck(t *testing.T, s *server, registrationID string) string {
	t.Helper()
	var attempts []struct {
		Outcome string
		Checks  []struct{ Name string }
	}
	s.berth(t, &attempts, "attempts", registrationID)
	if len(attempts) == 0 || attempts[0].Outcome != "refused" || len(attempts[0].Checks) == 0 {
		t.Fatalf("the attempts of %s are %+v, want a refusal first", registrationID, attempts)
	}
	return attempts[0].Checks[len(attempts[0].Checks)-1].Name
}
