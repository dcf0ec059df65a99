package mark

// SyncFolder does nothing: Windows keeps names in its own journal and can't sync
// a folder.
func SyncFolder(string) error { return nil }
