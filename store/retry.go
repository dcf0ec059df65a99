package store

import "context"

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
