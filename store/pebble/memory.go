package pebble

// HeapCaches returns how many bytes of Go's heap are caches of the engine, in use until
// it closes: a garbage collector that counts them among what it has to look through
// leaves as much room again. Where Pebble has memory of its own there are none.
func (d *Documents) HeapCaches() int64 {
	if ownMemory {
		return 0
	}
	d.open.RLock()
	defer d.open.RUnlock()
	if d.closed {
		return 0
	}
	metrics := d.db.Metrics()
	return metrics.BlockCache.Size + int64(metrics.MemTable.Size) + int64(metrics.MemTable.ZombieSize)
}
