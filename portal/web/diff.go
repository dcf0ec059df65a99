package web

import "strings"

// DiffLine is a line of a comparison: in both texts, only in the one that is
// stored, or only in the one that was typed.
type DiffLine struct {
	Kind string // same, del (stored only), ins (typed only)
	Text string
}

// maxDiff bounds the lines that are compared, as the table for it grows with
// their product.
const maxDiff = 2000

// DiffLines compares two texts line by line and keeps the longest common
// subsequence.
func DiffLines(stored, typed string) []DiffLine {
	a, b := strings.Split(stored, "\n"), strings.Split(typed, "\n")
	var lines []DiffLine
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		lines = append(lines, DiffLine{"same", a[0]})
		a, b = a[1:], b[1:]
	}
	var tail []DiffLine
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, DiffLine{"same", a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if len(a) > maxDiff || len(b) > maxDiff {
		for _, line := range a {
			lines = append(lines, DiffLine{"del", line})
		}
		for _, line := range b {
			lines = append(lines, DiffLine{"ins", line})
		}
		a, b = nil, nil
	}
	// common[i][j] is the length of the longest subsequence of a[i:] and b[j:].
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			lines = append(lines, DiffLine{"same", a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			lines = append(lines, DiffLine{"del", a[i]})
			i++
		default:
			lines = append(lines, DiffLine{"ins", b[j]})
			j++
		}
	}
	for i := len(tail) - 1; i >= 0; i-- {
		lines = append(lines, tail[i])
	}
	return lines
}
