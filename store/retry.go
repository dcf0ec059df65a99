package store

import (
	"context"
	"fmt"
)

// An OthersError says that the changes that CommitWith was given by others did not find what
// they asked for: only those others can know whether to try again.
type OthersError struct{ conflict *ConflictError }

func (e *OthersError) Error() string {
	return fmt.Sprintf("what was to be committed as well: %v", e.conflict)
}

// CommitWith commits changes together with those of others, with, all or nothing, and returns
// the ETags of the former. A conflict in one of the latter is an *OthersError, which
// RetryOnConflict does not try again.
func CommitWith(ctx context.Context, documents Documents, with []Change, changes ...Change) ([]string, error) {
	etags, err := documents.Commit(ctx, append(changes[:len(changes):len(changes)], with...)...)
	if at, conflict := IsConflict(err); conflict && at >= len(changes) {
		own := with[at-len(changes)]
		return nil, &OthersError{&ConflictError{Index: at - len(changes), Collection: own.Collection, Key: own.Key}}
	}
	if err != nil {
		return nil, err
	}
	return etags[:len(changes)], nil
}

// RetryOnConflict calls attempt, which reads documents and commits changes that rest on
// what it read, again for as long as its error is a conflict: somebody else changed one
// of them meanwhile. attempt itself says when what it reads is not what its caller wants,
// as If-Match does.
func RetryOnConflict[T any](ctx context.Context, attempt func() (T, error)) (T, error) {
	for {
		value, err := attempt()
		if _, conflict := IsConflict(err); !conflict {
			return value, err
		}
		if err := ctx.Err(); err != nil {
			return value, err
		}
	}
}
