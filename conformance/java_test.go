//go:build conformance

package conformance

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestJava is what Azure's Java SDKs do, with JUnit: everything with a server that
// answers at once, and a crowd of registrations with one that has its devices poll.
func TestJava(t *testing.T) {
	certificates := t.TempDir()
	now := time.Now()
	deviceCertificate(t, certificates, "java-certificate", "java-certificate", now.Add(-time.Hour),
		now.Add(24*time.Hour))
	signedCertificate(t, certificates, "java-signed", "java-authority")
	binary, data := build(t), t.TempDir()
	s := start(t, binary, data, certificates, "instant")

	classes, store := t.TempDir(), filepath.Join(t.TempDir(), "berth.p12")
	libraries, err := filepath.Abs("java/lib")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("java/*.java")
	if err != nil || len(sources) == 0 {
		t.Fatalf("java/*.java: %v (%v)", sources, err)
	}
	for _, command := range [][]string{
		append([]string{"javac", "-cp", libraries + "/*", "-d", classes}, sources...),
		{"keytool", "-importcert", "-noprompt", "-alias", "berth", "-file", s.info.CAFile, "-keystore", store,
			"-storepass", "changeit"},
	} {
		if output, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command[0], err, output)
		}
	}
	run := func(t *testing.T, s *server, chosen ...string) {
		lines := s.run(t, program{"java", append([]string{"java", "-Djavax.net.ssl.trustStore=" + store,
			"-Djavax.net.ssl.trustStorePassword=changeit", "-cp", libraries + "/*:" + classes,
			"org.junit.platform.console.ConsoleLauncher", "execute", "--disable-banner", "--disable-ansi-colors",
			"--details=tree", "--fail-if-no-tests"}, chosen...)})
		for _, line := range lines {
			if strings.Contains(line, "tests ") && !strings.Contains(line, " 0 tests ") {
				t.Log(line)
			}
		}
	}
	t.Run("instant", func(t *testing.T) { run(t, s, "--scan-classpath", classes) })
	s.stop(t)
	s = start(t, binary, data, certificates, "paced")
	t.Run("paced", func(t *testing.T) { run(t, s, "--select-class", "CrowdTest") })
}

// installJava fetches the Java SDKs from Maven Central.
func installJava() error {
	return once("java/lib", "java/pom.xml",
		[]string{"mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", "java/pom.xml",
			"dependency:copy-dependencies", "-DoutputDirectory=lib"})
}

// signedCertificate makes a device's certificate in a file with that of the authority
// between, and the certificate of the authority above, with openssl.
func signedCertificate(t *testing.T, folder, device, authority string) {
	t.Helper()
	between := authority + "-between"
	script := fmt.Sprintf(`set -e
new() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out $1.key.pem; }
new %[2]s; new %[3]s; new %[1]s
printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign' > authority.cnf
printf 'extendedKeyUsage=clientAuth' > device.cnf
openssl req -x509 -new -key %[2]s.key.pem -subj /CN=%[2]s -days 2 -out %[2]s.pem -addext keyUsage=critical,keyCertSign
openssl req -new -key %[3]s.key.pem -subj /CN=%[3]s | openssl x509 -req -CA %[2]s.pem -CAkey %[2]s.key.pem -days 2 -extfile authority.cnf -out %[3]s.pem
openssl req -new -key %[1]s.key.pem -subj /CN=%[1]s | openssl x509 -req -CA %[3]s.pem -CAkey %[3]s.key.pem -days 2 -extfile device.cnf -out leaf.pem
cat leaf.pem %[3]s.pem > %[1]s.pem`, device, authority, between)
	command := exec.Command("sh", "-c", script)
	command.Dir = folder
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, output)
	}
}
