package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-iot/berth/backend"
)

// numbers lists those below n whose decimals begin with the prefix, and counts the pages
// that it was asked for.
func numbers(n int, asked *int) Lister[int] {
	return func(prefix, after string, top int) (page []int, next string, err error) {
		*asked++
		from := 0
		if after != "" {
			from, _ = strconv.Atoi(after)
			from++
		}
		for i := from; i < n; i++ {
			if !strings.HasPrefix(fmt.Sprint(i), prefix) {
				continue
			}
			if page = append(page, i); len(page) == top {
				return page, fmt.Sprint(i), nil
			}
		}
		return page, "", nil
	}
}

func decimals(i int) []string { return []string{fmt.Sprint(i), "-"} }

// TestListPages prints no more than was asked for, and says so when there is more: not
// when the last one was the last.
func TestListPages(t *testing.T) {
	for _, test := range []struct {
		n, max, shown int
		more          bool
	}{
		{0, 10, 0, false}, {9, 10, 9, false}, {10, 10, 10, false}, {11, 10, 10, true},
		{3 * PageSize, 0, 3 * PageSize, false},
		{2*PageSize + 1, 2 * PageSize, 2 * PageSize, true}, {2 * PageSize, 2 * PageSize, 2 * PageSize, false},
		{2*PageSize + 7, 2*PageSize + 5, 2*PageSize + 5, true}, {5, -1, 5, false},
	} {
		for _, output := range []Format{Table, JSON} {
			t.Run(fmt.Sprintf("%d of %d, %s", test.max, test.n, output), func(t *testing.T) {
				var out, notes bytes.Buffer
				asked := 0
				c := &Env{Stdout: &out, Stderr: &notes, Output: output}
				err := PrintPages(c, Selection{Max: test.max}, numbers(test.n, &asked), Nothing("none"),
					[]string{"NUMBER", "X"}, decimals)
				if err != nil {
					t.Fatal(err)
				}
				if more := strings.Contains(notes.String(), "--max"); more != test.more {
					t.Errorf("beside it, it says %q", notes.String())
				}
				if most := test.shown/PageSize + 2; asked > most {
					t.Errorf("%d pages were asked for, want %d at most", asked, most)
				}
				shown := strings.Count(out.String(), "\n") - 1
				if output == JSON {
					var list []int
					if err := json.Unmarshal(out.Bytes(), &list); err != nil || list == nil {
						t.Fatalf("%v in %.100q", err, out.String())
					}
					shown = len(list)
				}
				if shown != test.shown {
					t.Errorf("%d are shown, want %d: %.100q", shown, test.shown, out.String())
				}
			})
		}
	}
}

// closing is a pipe whose reader goes away once it has read something.
type closing struct {
	bytes.Buffer
	until string
}

func (c *closing) Write(b []byte) (int, error) {
	if strings.Contains(c.String(), c.until) {
		return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
	}
	return c.Buffer.Write(b)
}

// TestListEndsWithItsReader prints each page before it asks for the next, and ends
// without a word when nobody reads on.
func TestListEndsWithItsReader(t *testing.T) {
	for _, output := range []Format{Table, JSON} {
		out, notes, asked := &closing{until: fmt.Sprint(2*PageSize - 1)}, new(bytes.Buffer), 0
		c := &Env{Stdout: out, Stderr: notes, Output: output}
		err := PrintPages(c, Selection{}, numbers(100*PageSize, &asked), Nothing("none"), []string{"NUMBER", "X"},
			decimals)
		if err != nil || notes.Len() > 0 {
			t.Errorf("%s: it ends with %v and says %q", output, err, notes.String())
		}
		if asked != 3 {
			t.Errorf("%s: %d pages were asked for, though nobody read the third", output, asked)
		}
		if err := PrintList(&Env{Stdout: &closing{}, Output: output}, []int{1}, "none", []string{"NUMBER", "X"},
			decimals); err != nil {
			t.Errorf("%s: a list that is all there ends with %v", output, err)
		}
	}
}

// TestListThatBreaksOff shows what there was; JSON that is not whole is none.
func TestListThatBreaksOff(t *testing.T) {
	broken := errors.New("no answer")
	list := func(_, after string, _ int) ([]int, string, error) {
		if after != "" {
			return nil, "", broken
		}
		return []int{1, 2}, "2", nil
	}
	var out bytes.Buffer
	err := PrintPages(&Env{Stdout: &out, Output: JSON}, Selection{}, list, Nothing("none"), []string{"NUMBER", "X"},
		decimals)
	if !errors.Is(err, broken) || json.Valid(out.Bytes()) || !strings.Contains(out.String(), "2") {
		t.Errorf("it ends with %v after %q", err, out.String())
	}
}

// TestTableOfPages keeps columns in their places over pages, as far as their widths allow.
func TestTableOfPages(t *testing.T) {
	var out bytes.Buffer
	c := &Env{Stdout: &out}
	c.Target.unreadable = []backend.Unreadable{{Collection: "c", Key: "k\n", Reason: "it is no JSON"}}
	printed := newListPrinter(c, func() string { return "none" }, []string{"ID", "NAME", "NOTE"},
		func(s []string) []string { return s })
	for _, page := range [][][]string{{{"1", "Zoë", "a"}}, {{"2", "B", "b"}},
		{{"3", "longer than before", ""}, {"4", "B", "d"}}} {
		if err := printed.add(page); err != nil {
			t.Fatal(err)
		}
	}
	if err := printed.end(); err != nil {
		t.Fatal(err)
	}
	want := "ID   NAME   NOTE\n1    Zoë    a\n2    B      b\n3    longer than before   \n4    B                    d\n" +
		"k\\n   cannot be read: it is no JSON\n"
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}
