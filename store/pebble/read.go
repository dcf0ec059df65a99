package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/berth-iot/berth/store"
)

// Get implements store.Documents.
func (d *Documents) Get(ctx context.Context, collection, key string) (store.Document, error) {
	release, err := d.use(ctx)
	if err != nil {
		return store.Document{}, err
	}
	defer release()
	if !store.ValidName(collection, key) {
		return store.Document{}, store.ErrNotFound // nothing can be there
	}
	stored, closer, err := d.db.Get(appendKey(nil, collection, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return store.Document{}, store.ErrNotFound
	}
	if err != nil {
		return store.Document{}, fmt.Errorf("read %s %q: %w", collection, key, asLoss(err))
	}
	document, err := decode(key, stored)
	return document, errors.Join(err, closer.Close())
}

// List implements store.Documents.
func (d *Documents) List(ctx context.Context, collection, prefix, after string, limit int) ([]store.Document, error) {
	if limit <= 0 {
		return nil, fmt.Errorf("a list of %s with limit %d: the limit must be positive", collection, limit)
	}
	from := prefix
	if after >= prefix {
		if after > prefix && !strings.HasPrefix(after, prefix) {
			return nil, d.check(ctx) // past all keys with the prefix
		}
		from = after + "\x00"
	}
	var documents []store.Document
	err := d.each(ctx, collection, prefix, from, func(key, stored []byte) (bool, error) {
		document, err := decode(string(key), stored)
		documents = append(documents, document)
		return len(documents) < limit, err
	})
	if err != nil {
		return nil, err
	}
	return documents, nil
}

// Watch implements store.Documents. The folder is this process's alone, so the commits of
// this process are all that there are.
func (d *Documents) Watch(ctx context.Context, changed func(), collections ...string) {
	d.watchers.Watch(ctx, changed, collections...)
}

// check returns what a call that reads nothing returns.
func (d *Documents) check(ctx context.Context) error {
	release, err := d.use(ctx)
	if err == nil {
		release()
	}
	return err
}

// each calls f with the keys (of the collection, with the prefix, not less than
// from, in order) and stored values of one moment until f returns false.
func (d *Documents) each(
	ctx context.Context, collection, prefix, from string, f func(key, stored []byte) (more bool, err error),
) (err error) {
	release, err := d.use(ctx)
	if err != nil {
		return err
	}
	defer release()
	if !store.ValidCollection(collection) {
		return nil // nothing can be there
	}
	lower := appendKey(nil, collection, from)
	upper := successor(appendKey(nil, collection, prefix))
	iterator, err := d.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("list %s: %w", collection, asLoss(err))
	}
	defer func() {
		if closing := iterator.Close(); err == nil && closing != nil {
			err = fmt.Errorf("list %s: %w", collection, asLoss(closing))
		}
	}()
	const checkEvery = 1024
	for n := 0; ; n++ {
		if n == 0 {
			iterator.First()
		} else {
			iterator.Next()
		}
		if !iterator.Valid() {
			return nil // Close returns the iterator's error
		}
		if n%checkEvery == checkEvery-1 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		stored, err := iterator.ValueAndErr()
		if err != nil {
			return fmt.Errorf("list %s: %w", collection, asLoss(err))
		}
		if more, err := f(iterator.Key()[len(collection)+1:], stored); err != nil || !more {
			return err
		}
	}
}

// decode returns the document of a stored value, of which it keeps no part.
func decode(key string, stored []byte) (store.Document, error) {
	etag, value, err := split(stored)
	if err != nil {
		return store.Document{}, fmt.Errorf("read %q: %w", key, err)
	}
	return store.Document{Key: key, ETag: etag, Value: bytes.Clone(value)}, nil
}

// successor returns the least key that is greater than all that start with
// prefix. There always is one, because a collection is followed by a zero.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			prefix[i]++
			return prefix[:i+1]
		}
	}
	return nil
}
