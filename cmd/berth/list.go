package main

import (
	"github.com/spf13/cobra"
)

// selection is the part of a list that a person wants.
type selection struct {
	prefix string
	max    int
}

func (s *selection) flags(command *cobra.Command) {
	command.Flags().StringVar(&s.prefix, "prefix", "", "only ids that start with this `text`")
	command.Flags().IntVar(&s.max, "max", 0, "at most so many (0 is all)")
}

// pageSize is how many items are asked for at once.
const pageSize = 1000

// collect reads a list page by page.
func collect[T any](s selection, list func(prefix, after string, top int) ([]T, string, error)) (items []T, err error) {
	for after := ""; ; {
		top := pageSize
		if s.max > 0 {
			top = min(top, s.max-len(items))
		}
		page, next, err := list(s.prefix, after, top)
		if err != nil {
			return nil, err
		}
		items = append(items, page...)
		if next == "" || s.max > 0 && len(items) >= s.max {
			return items, nil
		}
		after = next
	}
}
