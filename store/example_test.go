package store_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

// A table holds documents of one type. They change by compare-and-swap, several at once,
// all or nothing.
func Example() {
	ctx := context.Background()
	documents := memory.New().Open() // of store/pebble, for what is to stay
	defer documents.Close()
	type account struct{ Balance int }
	accounts := store.NewTable[account](documents, "accounts")

	// Both are added, or none when one of them is there already.
	if _, err := documents.Commit(ctx,
		accounts.Put("anna", store.Absent, account{100}),
		accounts.Put("bert", store.Absent, account{0}),
	); err != nil {
		log.Fatal(err)
	}

	// Both are changed, unless somebody has changed one of them since it was read.
	anna, annaETag, err := accounts.Get(ctx, "anna")
	if err != nil {
		log.Fatal(err)
	}
	bert, bertETag, err := accounts.Get(ctx, "bert")
	if err != nil {
		log.Fatal(err)
	}
	transfer := []store.Change{
		accounts.Put("anna", store.IfMatch(annaETag), account{anna.Balance - 30}),
		accounts.Put("bert", store.IfMatch(bertETag), account{bert.Balance + 30}),
	}
	if _, err := documents.Commit(ctx, transfer...); err != nil {
		log.Fatal(err)
	}

	// So it is not done twice.
	_, err = documents.Commit(ctx, transfer...)
	if index, conflict := store.IsConflict(err); conflict {
		fmt.Printf("change %d: %v\n", index, err)
	}
	entries, err := accounts.List(ctx, "", "", 10)
	if err != nil {
		log.Fatal(err)
	}
	for _, entry := range entries {
		fmt.Println(entry.Key, entry.Value.Balance)
	}
	_, _, err = accounts.Get(ctx, "carl")
	fmt.Println(errors.Is(err, store.ErrNotFound))

	// Output:
	// change 0: accounts "anna" is not in the state that the change asked for
	// anna 70
	// bert 30
	// true
}

// Those who change the same document at once do it one after the other.
func ExampleRetryOnConflict() {
	ctx := context.Background()
	documents := memory.New().Open()
	defer documents.Close()
	counters := store.NewTable[int](documents, "counters")
	if _, err := documents.Commit(ctx, counters.Put("visitors", store.Absent, 0)); err != nil {
		log.Fatal(err)
	}

	increment := func() (int, error) {
		n, etag, err := counters.Get(ctx, "visitors")
		if err != nil {
			return 0, err
		}
		_, err = documents.Commit(ctx, counters.Put("visitors", store.IfMatch(etag), n+1))
		return n + 1, err
	}
	var visitors sync.WaitGroup
	for range 20 {
		visitors.Go(func() {
			if _, err := store.RetryOnConflict(ctx, increment); err != nil {
				log.Print(err)
			}
		})
	}
	visitors.Wait()
	n, _, err := counters.Get(ctx, "visitors")
	fmt.Println(n, err)

	// Output: 20 <nil>
}

// What is made of documents is kept for as long as they stay as they are.
func ExampleCache() {
	ctx := context.Background()
	documents := memory.New().Open()
	defer documents.Close()
	names := store.NewTable[string](documents, "names")
	loads := 0
	greeting := store.NewCache(documents, func(ctx context.Context) (string, error) {
		loads++
		name, _, err := names.Get(ctx, "me")
		return "Hello " + name, err
	}, names.Collection)

	for _, name := range []string{"Anna", "Bert"} {
		if _, err := documents.Commit(ctx, names.Put("me", store.Always, name)); err != nil {
			log.Fatal(err)
		}
		for range 3 {
			text, err := greeting.Get(ctx)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(text)
		}
	}
	fmt.Println("loaded", loads, "times")

	// Output:
	// Hello Anna
	// Hello Anna
	// Hello Anna
	// Hello Bert
	// Hello Bert
	// Hello Bert
	// loaded 2 times
}
