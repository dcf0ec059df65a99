package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Table is a typed view of one collection: documents are T as JSON.
type Table[T any] struct {
	Documents  Documents
	Collection string
}

// Get returns the document with its ETag, or ErrNotFound.
func (t Table[T]) Get(ctx context.Context, key string) (value T, etag string, err error) {
	document, err := t.Documents.Get(ctx, t.Collection, key)
	if err != nil {
		return value, "", err
	}
	if value, err = t.decode(document); err != nil {
		return value, "", err
	}
	return value, document.ETag, nil
}

// An Entry is one document of a List.
type Entry[T any] struct {
	Key, ETag string
	Value     T
}

// List returns documents as Documents.List does.
func (t Table[T]) List(ctx context.Context, prefix, after string, limit int) ([]Entry[T], error) {
	documents, err := t.Documents.List(ctx, t.Collection, prefix, after, limit)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry[T], len(documents))
	for i, document := range documents {
		value, err := t.decode(document)
		if err != nil {
			return nil, err
		}
		entries[i] = Entry[T]{document.Key, document.ETag, value}
	}
	return entries, nil
}

// Put is the Change that writes value, for a Commit.
func (t Table[T]) Put(key string, match Match, value T) Change {
	encoded, err := json.Marshal(value)
	if err != nil {
		// Domain types marshal; one that doesn't is a mistake in the program.
		panic(fmt.Sprintf("store: %s %q: %v", t.Collection, key, err))
	}
	return Change{Collection: t.Collection, Key: key, Match: match, Value: encoded}
}

// Delete is the Change that removes the document, for a Commit.
func (t Table[T]) Delete(key string, match Match) Change {
	return Change{Collection: t.Collection, Key: key, Match: match, Delete: true}
}

// Count returns the number of documents.
func (t Table[T]) Count(ctx context.Context) (int, error) {
	return t.Documents.Count(ctx, t.Collection)
}

func (t Table[T]) decode(document Document) (value T, err error) {
	if err := json.Unmarshal(document.Value, &value); err != nil {
		return value, fmt.Errorf("%s %q does not hold what it should: %w", t.Collection, document.Key, err)
	}
	return value, nil
}

// IsConflict reports whether err says that a Commit found other documents than
// it asked for, and which of its changes that was.
func IsConflict(err error) (index int, ok bool) {
	var conflict *ConflictError
	if errors.As(err, &conflict) {
		return conflict.Index, true
	}
	return 0, false
}
