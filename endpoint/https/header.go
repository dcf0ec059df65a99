package https

import (
	"net/http"
	"strings"

	"github.com/berth-iot/berth/fault"
)

// setHeader sets a header of an answer under the very name given, in place of what it
// was. Header.Set would write Etag and X-Ms-Continuation, and some clients compare
// names byte by byte: the C SDK finds ETag, x-ms-continuation and x-ms-item-type with
// strcmp, and C# looks up iothub-errorcode in a case-sensitive dictionary.
func setHeader(header http.Header, name, value string) { header[name] = []string{value} }

// methodOf is the method that a request means. A client that can't send PATCH sends a
// POST with X-HTTP-Method-Override: PATCH, as the Java service client does. Any other
// override is refused: to ignore it would do something else than was asked for, and
// there is nobody who needs it.
func methodOf(r *http.Request) (string, error) {
	switch override := strings.ToUpper(strings.TrimSpace(r.Header.Get("X-HTTP-Method-Override"))); {
	case override == "" || override == r.Method:
		return r.Method, nil
	case r.Method == http.MethodPost && override == http.MethodPatch:
		return http.MethodPatch, nil
	default:
		return "", fault.New(fault.ArgumentInvalid,
			"X-HTTP-Method-Override is %.32q on a %.32s. It can only make a PATCH of a POST", override, r.Method)
	}
}

// strongIfMatch takes the mark of a weak ETag from If-Match, W/"…": clients and proxies
// add it, and an ETag stands for one state of a thing here, whatever it is called.
func strongIfMatch(header http.Header) {
	if strong, weak := strings.CutPrefix(header.Get("If-Match"), "W/"); weak {
		header.Set("If-Match", strong)
	}
}
