package store

import "context"

// Derived is Documents that put into each Commit what follows from its changes, such as the
// entries of an index.
type Derived struct {
	Documents
	derive func(ctx context.Context, changes []Change) ([]Change, error)
}

// Derive returns the documents with what derive makes of the changes of each Commit. It is
// asked again when what it made conflicts with what others have committed.
func Derive(documents Documents, derive func(ctx context.Context, changes []Change) ([]Change, error)) *Derived {
	return &Derived{documents, derive}
}

// Complete returns changes with what is derived from them, for who commits them elsewhere.
func (d *Derived) Complete(ctx context.Context, changes []Change) ([]Change, error) {
	derived, err := d.derive(ctx, changes)
	return append(changes[:len(changes):len(changes)], derived...), err
}

// Commit implements Documents.
func (d *Derived) Commit(ctx context.Context, changes ...Change) ([]string, error) {
	for {
		complete, err := d.Complete(ctx, changes)
		if err != nil {
			return nil, err
		}
		etags, err := d.Documents.Commit(ctx, complete...)
		if index, conflict := IsConflict(err); conflict && index >= len(changes) && ctx.Err() == nil {
			continue
		}
		return etags[:min(len(etags), len(changes))], err
	}
}

// Derived is an inspector where what it is made of is one.
var _ inspector = (*Derived)(nil)

func (d *Derived) register(collection string, decode func([]byte) error) {
	if i, ok := d.Documents.(inspector); ok {
		i.register(collection, decode)
	}
}

func (d *Derived) unreadable(problem *UnreadableError) {
	if i, ok := d.Documents.(inspector); ok {
		i.unreadable(problem)
	}
}

func (d *Derived) readable(collection, key string) {
	if i, ok := d.Documents.(inspector); ok {
		i.readable(collection, key)
	}
}
