package header

import (
	"bytes"
	"net/textproto"
	"strconv"
	"strings"
)

// scanner finds the headers in what comes by a connection, wherever it is cut. It only needs
// to follow what package http takes for requests: once there is anything else, the server
// ends the connection, and the scanner finds nothing more.
type scanner struct {
	limit int // of a header, in bytes
	part  part
	text  []byte // of a header, or of a line
	left  int64  // bytes of a body, or of a chunk with its line end
}

// part is what comes next.
type part int

const (
	inHeader    part = iota
	inBody           // of a known length
	inChunkSize      // the line before a chunk
	inChunk
	inTrailer // what follows the last chunk, up to an empty line
	lost      // something that is no request, or nothing that a request can follow
)

// scan goes on with what has come and returns the headers that end in it, each from its
// request line to the empty line.
func (s *scanner) scan(b []byte) (headers []string) {
	for len(b) > 0 && s.part != lost {
		if s.part == inBody || s.part == inChunk {
			n := min(s.left, int64(len(b)))
			b, s.left = b[n:], s.left-n
			switch {
			case s.left > 0:
			case s.part == inBody:
				s.part = inHeader
			default:
				s.part = inChunkSize
			}
			continue
		}
		end := bytes.IndexByte(b, '\n') + 1
		if end == 0 {
			end = len(b)
		}
		if len(s.text)+end > s.limit {
			s.lose()
			return headers
		}
		before := bytes.LastIndexByte(s.text, '\n') + 1 // where the line begins
		s.text = append(s.text, b[:end]...)
		b = b[end:]
		if s.text[len(s.text)-1] != '\n' {
			return headers
		}
		line := string(bytes.TrimRight(s.text[before:], "\r\n"))
		switch {
		case s.part == inHeader && line != "":
		case s.part == inHeader && before == 0: // some clients end a body with it
			s.text = s.text[:0]
		case s.part == inHeader:
			header := string(s.text)
			headers = append(headers, header)
			s.text = nil // a connection that waits holds no memory
			s.afterHeader(header)
		case s.part == inTrailer && line != "":
			s.text = s.text[:0]
		case s.part == inTrailer:
			s.text, s.part = nil, inHeader
		default:
			s.text = s.text[:0]
			s.chunkSize(line)
		}
	}
	return headers
}

func (s *scanner) lose() { s.part, s.text = lost, nil }

// afterHeader tells by a header what follows it.
func (s *scanner) afterHeader(header string) {
	request, fields, _ := strings.Cut(header, "\n")
	if !strings.HasSuffix(strings.TrimSuffix(request, "\r"), " HTTP/1.1") {
		s.lose()
		return
	}
	length, chunked := "", false
	for line := range strings.Lines(fields) {
		name, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); textproto.CanonicalMIMEHeaderKey(name) {
		case "Content-Length":
			if length != "" && length != value {
				s.lose()
				return
			}
			length = value
		case "Transfer-Encoding":
			if chunked || !strings.EqualFold(value, "chunked") {
				s.lose()
				return
			}
			chunked = true
		case "Upgrade": // what follows is another protocol's
			s.lose()
			return
		}
	}
	switch n, err := strconv.ParseUint(length, 10, 63); {
	case chunked:
		s.part = inChunkSize
	case length == "":
		s.part = inHeader
	case err != nil:
		s.lose()
	case n > 0:
		s.part, s.left = inBody, int64(n)
	}
}

// chunkSize reads the line before a chunk: its size in hexadecimal, and what may follow
// after a semicolon.
func (s *scanner) chunkSize(line string) {
	size, _, _ := strings.Cut(line, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 62)
	switch {
	case err != nil:
		s.lose()
	case n == 0:
		s.part = inTrailer
	default:
		s.part, s.left = inChunk, int64(n)+int64(len("\r\n"))
	}
}
