package memory_test

import (
	"sync"
	"testing"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
	"github.com/berth-iot/berth/store/storetest"
)

// stores are those of a test by the names of folders, which stay empty.
type stores struct{ byDir sync.Map }

func (s *stores) of(dir string) *memory.Store {
	opened, _ := s.byDir.LoadOrStore(dir, memory.New())
	return opened.(*memory.Store)
}

// Nothing is kept past the process, so there is no crash to test.
func TestDocuments(t *testing.T) {
	of := new(stores).of
	open := func(_ testing.TB, dir string) store.Documents { return of(dir).Open() }
	storetest.RunDocuments(t, open)
	storetest.ShareDocuments(t, open)
}
