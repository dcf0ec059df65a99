package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Table is a typed view of one collection: documents are T as JSON.
type Table[T any] struct {
	Documents  Documents
	Collection string
}

// NewTable returns the table of a collection. An Inspector learns from it what the
// documents should hold.
func NewTable[T any](documents Documents, collection string) Table[T] {
	if i, ok := documents.(inspector); ok {
		i.register(collection, func(encoded []byte) error {
			_, err := decodeDocument[T](encoded)
			return err
		})
	}
	return Table[T]{documents, collection}
}

// Get returns the document with its ETag, or ErrNotFound. One that can't be read is
// an *UnreadableError, and comes with its ETag.
func (t Table[T]) Get(ctx context.Context, key string) (value T, etag string, err error) {
	document, err := t.Documents.Get(ctx, t.Collection, key)
	if err != nil {
		return value, "", err
	}
	value, err = t.Decode(document)
	return value, document.ETag, err
}

// An Entry is one document of a List.
type Entry[T any] struct {
	Key, ETag string
	Value     T
}

// List returns documents as Documents.List does, but for those that can't be read:
// the Inspector knows them. It returns fewer than limit only at the end.
func (t Table[T]) List(ctx context.Context, prefix, after string, limit int) ([]Entry[T], error) {
	var entries []Entry[T]
	for {
		wanted := limit - len(entries)
		documents, err := t.Documents.List(ctx, t.Collection, prefix, after, wanted)
		if err != nil {
			return nil, err
		}
		entries = slices.Grow(entries, len(documents))
		for _, document := range documents {
			if value, err := t.Decode(document); err == nil {
				entries = append(entries, Entry[T]{document.Key, document.ETag, value})
			}
		}
		if len(documents) < wanted || len(entries) == limit {
			return entries, nil
		}
		after = documents[wanted-1].Key
	}
}

// Find returns the first document that is wanted, in the order of their keys, and whether
// there is one, but for those that can't be read. It may read all.
func (t Table[T]) Find(ctx context.Context, wanted func(T) bool) (value T, found bool, _ error) {
	const stride = 1000
	for after := ""; ; {
		entries, err := t.List(ctx, "", after, stride)
		if err != nil {
			return value, false, err
		}
		for _, entry := range entries {
			if wanted(entry.Value) {
				return entry.Value, true, nil
			}
		}
		if len(entries) < stride {
			return value, false, nil
		}
		after = entries[stride-1].Key
	}
}

// Put is the Change that writes value, for a Commit. JSON in it is kept as it is
// spelled. A value that is no JSON fails the Commit.
func (t Table[T]) Put(key string, match Match, value T) Change {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	if err != nil {
		err = fmt.Errorf("write %s %q: %w", t.Collection, key, err)
	}
	return Change{Collection: t.Collection, Key: key, Match: match,
		Value: bytes.TrimSuffix(encoded.Bytes(), []byte("\n")),
		Err:   err}
}

// Delete is the Change that removes the document, for a Commit.
func (t Table[T]) Delete(key string, match Match) Change {
	return Change{Collection: t.Collection, Key: key, Match: match, Delete: true}
}

// Count returns the number of documents.
func (t Table[T]) Count(ctx context.Context) (int, error) {
	return Count(ctx, t.Documents, t.Collection)
}

// Decode returns what a document of the collection holds. One that can't be read is an
// *UnreadableError.
func (t Table[T]) Decode(document Document) (value T, err error) {
	i, inspected := t.Documents.(inspector)
	value, err = decodeDocument[T](document.Value)
	if err == nil {
		if inspected {
			i.readable(t.Collection, document.Key)
		}
		return value, nil
	}
	problem := &UnreadableError{t.Collection, document.Key, document.ETag, err}
	if inspected {
		i.unreadable(problem)
	}
	var none T // and no half of it
	return none, problem
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
