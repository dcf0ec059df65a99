package https

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/berth-iot/berth/document"
)

// answer writes what an operation returned; nil is an answer without a body. When
// that is no JSON, nothing is written.
func (c *Call) answer(value any) error {
	if value == nil {
		if c.Status == 0 {
			c.Status = http.StatusNoContent
		}
		c.w.WriteHeader(c.Status)
		return nil
	}
	if c.Status == 0 {
		c.Status = http.StatusOK
	}
	return writeJSON(c.w, c.Status, value)
}

func writeJSON(w http.ResponseWriter, status int, value any) error {
	encoded, err := document.Marshal(value)
	if err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff") // what others wrote is in it as it is
	w.Header().Set("Content-Length", strconv.Itoa(len(encoded)))
	w.WriteHeader(status)
	w.Write(encoded) // the client may be gone
	return nil
}
