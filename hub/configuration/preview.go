package configuration

import (
	"context"
	"time"
)

// A Preview says which identities a target condition holds for, now. It is made in parts, so
// that each answer comes soon however many identities there are.
type Preview struct {
	Matched  int      `json:"matched"`  // identities of this part that the condition holds for
	Examined int      `json:"examined"` // identities of this part
	IDs      []string `json:"ids"`      // the first of those that it holds for
	Next     string   `json:"next,omitempty"`
}

const (
	previewTime = 2 * time.Second // for which one part looks
	previewIDs  = 100             // that one part names at most
)

// Preview says which identities a configuration with this target condition and content would
// target, from the identity after on. Without content they are devices. It returns fault
// 400401 for a condition that can't be read, and 400402 for content that can't be.
func (c *Configurations) Preview(
	ctx context.Context, condition string, content Content, after string,
) (Preview, error) {
	p := Preview{IDs: []string{}}
	one := &compiled{}
	var err error
	if !content.isEmpty() {
		if one.content, err = content.parse(); err != nil {
			return p, err
		}
	}
	if one.target, err = parseTarget(condition, one.kind); err != nil {
		return p, err
	}
	only := &set{ordered: []*compiled{one}}
	for began := time.Now(); time.Since(began) < previewTime; {
		twins, err := c.config.Twins.List(ctx, after, page)
		if err != nil {
			return p, err
		}
		for _, t := range twins {
			after = t.ID
			p.Examined++
			d, err := only.decide(ctx, subjectOf(t.ID, t.Document), c.config.IsEdge)
			if err != nil {
				return p, err
			}
			if len(d.targeting) > 0 {
				if p.Matched++; len(p.IDs) < previewIDs {
					p.IDs = append(p.IDs, t.ID)
				}
			}
		}
		if len(twins) < page {
			return p, nil
		}
	}
	p.Next = after
	return p, nil
}
