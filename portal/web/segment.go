package web

import (
	"net/url"
	"strings"
)

// dotMark stands before an id in a path that would mean something else without it.
const dotMark = "~"

// Segment is an id as one part of a path, which Call.PathValue reads: all that links to
// the page of something is made with it. Ids may have what an address is divided at; and
// "." and ".." are ids too, which every browser resolves before it asks, also as %2e.
func Segment(id string) string {
	if id == "." || id == ".." || strings.HasPrefix(id, dotMark) {
		id = dotMark + id
	}
	return url.PathEscape(id)
}

// PathValue returns the part of the path that the route names so, as Segment was given it.
func (c *Call) PathValue(name string) string {
	return strings.TrimPrefix(c.Request.PathValue(name), dotMark)
}
