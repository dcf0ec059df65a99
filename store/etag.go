package store

// QuoteETag is an ETag as those outside are shown it, with quotes: "\"…\"".
func QuoteETag(etag string) string { return `"` + etag + `"` }

// UnquoteETag is the ETag that QuoteETag showed. One without quotes is returned as it is.
func UnquoteETag(shown string) string {
	if len(shown) >= 2 && shown[0] == '"' && shown[len(shown)-1] == '"' {
		return shown[1 : len(shown)-1]
	}
	return shown
}
