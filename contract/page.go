package contract

// Page is a part of a list of Berth's own operations. Next is the after of the next
// request, or "" at the end.
type Page[T any] struct {
	Items      []T          `json:"items"`
	Next       string       `json:"next,omitempty"`
	Unreadable []Unreadable `json:"unreadable,omitempty"` // records that belong among the items and can't be read
}

// Unreadable is a document that can't be read, as it is listed.
type Unreadable struct {
	Collection string `json:"collection"` // such as provisioning/enrollments
	Key        string `json:"key"`
	Reason     string `json:"reason"`
}
