package web

import "time"

// Chart is a small picture of bars over time. It is drawn by the template, as
// SVG, and told in a sentence to those who don't see it.
type Chart struct {
	Bars      []Bar
	Step      time.Duration
	Most      int // of one bar
	Good, Bad int // of all
}

// Bar counts what happened in one step of time. NewChart gives it its place.
type Bar struct {
	From      time.Time
	Good, Bad int

	X     int
	GoodY int
	GoodH int
	BadY  int
	BadH  int
}

// The size of a chart, in the units of its drawing.
const (
	chartHeight = 96
	barWidth    = 12
	barGap      = 3
)

// Width is that of the drawing.
func (c Chart) Width() int { return max(1, len(c.Bars)) * (barWidth + barGap) }

// Height is that of the drawing.
func (c Chart) Height() int { return chartHeight }

// BarWidth is that of one bar.
func (c Chart) BarWidth() int { return barWidth }

// Minutes is what one bar stands for.
func (c Chart) Minutes() int { return int(c.Step / time.Minute) }

// Span is what all bars stand for, in minutes.
func (c Chart) Span() int { return c.Minutes() * len(c.Bars) }

// NewChart gives the bars their places. The tallest fills the height, and what
// is not nothing can be seen.
func NewChart(bars []Bar, step time.Duration) Chart {
	c := Chart{Bars: bars, Step: step}
	for _, b := range bars {
		c.Most = max(c.Most, b.Good+b.Bad)
		c.Good += b.Good
		c.Bad += b.Bad
	}
	height := func(n int) int {
		if n == 0 {
			return 0
		}
		return max(2, n*(chartHeight-4)/c.Most)
	}
	for i := range bars {
		b := &bars[i]
		b.X = i * (barWidth + barGap)
		b.GoodH, b.BadH = height(b.Good), height(b.Bad)
		b.GoodY = chartHeight - b.GoodH
		b.BadY = b.GoodY - b.BadH
	}
	return c
}
