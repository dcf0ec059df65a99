package store_test

import (
	"context"
	"fmt"
	"log"

	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/store/memory"
)

// acknowledgements is told what became of each record, by its token.
type acknowledgements chan string

func (a acknowledgements) Committed(token uint64, at store.Position, err error) {
	a <- fmt.Sprintf("record %d has sequence %d, error %v", token, at.Sequence, err)
}

// What is appended to a log is durable when it is acknowledged, and is read from any
// place of it.
func ExampleLog() {
	ctx := context.Background()
	logs := memory.New().OpenLogs(nil) // of store/segment, for what is to stay
	defer logs.Close()
	readings, err := logs.Open("readings", store.LogOptions{Partitions: 1})
	if err != nil {
		log.Fatal(err)
	}

	acknowledged := make(acknowledgements, 2)
	readings.Append(0, []byte("21.5"), acknowledged, 7)
	readings.Append(0, []byte("21.7"), acknowledged, 8)
	fmt.Println(<-acknowledged)
	fmt.Println(<-acknowledged)

	first := readings.Bounds(0).First
	records, err := readings.Read(ctx, 0, first+1, 100, 1<<20)
	if err != nil {
		log.Fatal(err)
	}
	for _, record := range records {
		fmt.Printf("%d: %s\n", record.Sequence, record.Value)
	}

	// Output:
	// record 7 has sequence 0, error <nil>
	// record 8 has sequence 1, error <nil>
	// 1: 21.7
}
