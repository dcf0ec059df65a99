package memory_test

import (
	"sync"
	"testing"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
	"github.com/berth-iot/berth/store/storetest"
)

// opener returns what opens a store by the name of a folder, which stays empty.
func opener() func(testing.TB, string) store.Documents {
	var stores sync.Map
	return func(_ testing.TB, dir string) store.Documents {
		opened, _ := stores.LoadOrStore(dir, memory.New())
		return opened.(*memory.Store).Open()
	}
}

// Nothing is kept past the process, so there is no crash to test.
func TestDocuments(t *testing.T) {
	storetest.RunDocuments(t, opener())
	storetest.ShareDocuments(t, opener())
}
