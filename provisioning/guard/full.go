package guard

import "context"

// IsFull says whether there are as many already as there may be. What is counted and then
// added is one step under a lock of this node: other nodes that add at the same
// moment may exceed the limit by as many as add, on which nothing else hangs.
func IsFull(ctx context.Context, limit int, count func(context.Context) (int, error)) (bool, error) {
	if limit <= 0 {
		return false, nil
	}
	present, err := count(ctx)
	return present >= limit, err
}
