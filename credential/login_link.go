package credential

import "time"

// LoginLink lets whoever has it log in to the portal, once.
type LoginLink struct {
	URL      string    `json:"url"`      // on the server's machine, without TLS
	HTTPSURL string    `json:"httpsUrl"` // from anywhere; the browser must trust the server's authority
	Role     string    `json:"role"`     // operator or reader
	Expires  time.Time `json:"expires"`
}
