package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Progress shows on a terminal how far a long piece of work has come. Elsewhere
// it says nothing but the lines it is given.
type Progress struct {
	out      io.Writer
	terminal bool
	what     string
	total    int64 // 0 when it is not known

	mutex sync.Mutex
	done  int64
	begun time.Time
	shown time.Time
}

// progressEvery is the time between two pictures.
const progressEvery = 100 * time.Millisecond

// NewProgress begins a piece of work: so many things of a kind, in the plural; a total of 0 is one that
// is not known. End ends what is shown of it.
func (c *Env) NewProgress(what string, total int64) *Progress {
	return &Progress{out: c.Stderr, terminal: IsTerminal(c.Stderr), what: what, total: total, begun: time.Now()}
}

// IsTerminal reports whether a person looks at what is written.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	about, err := file.Stat()
	if err != nil || about.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull) // is a character device too
	return err != nil || !os.SameFile(about, null)
}

// Add counts what is done.
func (p *Progress) Add(n int64) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.done += n
	if now := time.Now(); p.terminal && now.Sub(p.shown) >= progressEvery {
		p.shown = now
		p.draw(now)
	}
}

// Write counts bytes.
func (p *Progress) Write(b []byte) (int, error) {
	p.Add(int64(len(b)))
	return len(b), nil
}

const barWidth = 30

func (p *Progress) draw(now time.Time) {
	rate := float64(p.done) / max(now.Sub(p.begun).Seconds(), 0.001)
	if p.total <= 0 {
		fmt.Fprintf(p.out, "\r\x1b[K%d %s, %.0f/s", p.done, p.what, rate)
		return
	}
	part := min(float64(p.done)/float64(p.total), 1)
	bar := make([]rune, barWidth)
	for i := range bar {
		if bar[i] = '·'; float64(i) < part*barWidth {
			bar[i] = '█'
		}
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s %3.0f %%  %d of %d %s, %.0f/s", string(bar), 100*part, p.done, p.total, p.what, rate)
}

// Line writes a line above the picture.
func (p *Progress) Line(text string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintln(p.out, text)
}

// End takes the picture away.
func (p *Progress) End() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.terminal && !p.shown.IsZero() {
		p.draw(time.Now())
		fmt.Fprintln(p.out)
	}
}
