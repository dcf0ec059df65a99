package backend

import (
	"context"
	"fmt"
	"net/http"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/document"
)

// QueryPage is a page of what a query found.
type QueryPage struct {
	ItemType     string // Twin, Raw or DeviceJob
	Rows         []document.Object
	Continuation string // of the next page; "" when this is the last one
}

// Query answers a query in the language of IoT Hub with a page of at most limit rows, the
// first one or that of a continuation. A page may have no rows and not be the last.
func (h *Hub) Query(ctx context.Context, text string, limit int, continuation string) (page QueryPage, err error) {
	header := http.Header{"X-Ms-Max-Item-Count": {fmt.Sprint(limit)}}
	if continuation != "" {
		header.Set("x-ms-continuation", continuation)
	}
	body := struct {
		Query string `json:"query"`
	}{text}
	answered, err := h.exchange(ctx, request{method: http.MethodPost, path: contract.DevicesQueryPath, header: header,
		body: body, into: &page.Rows})
	page.ItemType, page.Continuation = answered.Get("x-ms-item-type"), answered.Get("x-ms-continuation")
	return page, err
}
