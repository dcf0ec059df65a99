package pebble_test

import (
	"path/filepath"
	"testing"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/pebble"
	"github.com/berth-iot/berth/store/storetest"
)

func open(t testing.TB, dir string) store.Documents {
	t.Helper()
	d, err := pebble.Open(filepath.Join(dir, "documents"), pebble.Options{Mark: filepath.Join(dir, "mark")})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	storetest.RunDocuments(t, open)
}

func TestCrash(t *testing.T) {
	t.Parallel()
	storetest.CrashDocuments(t, open)
}
