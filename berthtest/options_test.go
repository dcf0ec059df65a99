package berthtest_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// logLines is what a server logs, from whichever goroutine.
type logLines struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(line)
}

// Each option is the server's, and stays over a restart until it is changed.
func TestOptions(t *testing.T) {
	directory, then := t.TempDir(), time.Now().Add(-10*time.Minute).Truncate(time.Second)
	var said logLines
	berth := berthtest.Start(t, berthtest.DataDir(directory), berthtest.Hosts("dps.test", "hub.test"),
		berthtest.Now(func() time.Time { return then }),
		berthtest.Logger(slog.New(slog.NewTextHandler(&said, nil))))
	enrollment := enroll.Enrollment{RegistrationID: "d1"}
	enrollment.Attestation.Type = "symmetricKey"
	created, err := berth.Provisioning.CreateEnrollment(t.Context(), enrollment)
	if err != nil || !created.CreatedDateTimeUTC.Equal(then) {
		t.Fatalf("created at %v, error %v", created.CreatedDateTimeUTC, err)
	}
	for range 2 {
		info := berth.Info()
		if !strings.HasPrefix(info.CAFile, directory) || berth.Provisioning.Host() != "dps.test" ||
			berth.Hub.Host() != "hub.test" {
			t.Errorf("the server is %+v", info)
		}
		if read, err := berth.Provisioning.Enrollment(t.Context(), "d1"); err != nil || read.ETag != created.ETag {
			t.Errorf("the enrollment is %+v, error %v", read, err)
		}
		berth.Restart(t)
	}
	said.mutex.Lock()
	defer said.mutex.Unlock()
	if said.text.Len() == 0 {
		t.Error("the log is another")
	}
}
