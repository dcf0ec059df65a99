package mqtt

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/hub/telemetry"
)

func show(properties []message.Property) string {
	var b strings.Builder
	for _, property := range properties {
		fmt.Fprintf(&b, "%s=%s;", property.Name, property.Value)
	}
	return b.String()
}

func TestPropertyBags(t *testing.T) {
	var b bag
	for _, c := range []struct{ encoded, system, properties string }{
		{"", "", ""},
		{"%24.mid=00280496-acab&%24.ct=application%2Fjson&k=v%201",
			"message-id=00280496-acab;content-type=application/json;", "k=v 1;"},
		{"$.ce=utf-8&a+b=c+d", "content-encoding=utf-8;", "a+b=c+d;"},
		{"?a=1&b", "", "a=1;b=;"},
		{"a=&&=b/", "", "a=;=b;"},
		{"%C3%BC=%e2%82%ac", "", "ü=€;"},
		{"a=b=c", "", "a=b=c;"},
		{"$.unknown=1", "", "$.unknown=1;"},
	} {
		if err := b.parse([]byte(c.encoded)); err != nil {
			t.Errorf("%q: %v", c.encoded, err)
		} else if show(b.system) != c.system || show(b.properties) != c.properties {
			t.Errorf("%q is %q and %q, want %q and %q", c.encoded, show(b.system), show(b.properties), c.system,
				c.properties)
		}
	}
	for _, bad := range []string{"a=%", "a=%4", "a=%zz", "%g0=1", "a=%ff", "%c3=1", "a=%ed%a0%80",
		strings.Repeat("a=1&", telemetry.MaxProperties+1)} {
		if err := b.parse([]byte(bad)); err == nil {
			t.Errorf("%.20q was taken for %q", bad, show(b.properties))
		}
	}
}

// A bag that has once had room for a message takes the next without allocating.
func TestBagAllocatesNothing(t *testing.T) {
	var b bag
	encoded := []byte("%24.mid=1&%24.ct=application%2Fjson&level=high%20and%20rising&plain=1")
	if n := testing.AllocsPerRun(100, func() {
		if err := b.parse(encoded); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("reading a property bag allocates %v times", n)
	}
}

func TestAnswersAreASCII(t *testing.T) {
	got, err := asciiJSON(map[string]string{"message": "é€😀<\""})
	if want := `{"message":"\u00e9\u20ac\ud83d\ude00<\""}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

// What a bag is parsed to, encoded again, is parsed to the same.
func FuzzBag(f *testing.F) {
	f.Add([]byte("%24.mid=1&a=b%20c&d"))
	f.Add([]byte("?$.ct=application%2fjson&=&x=/"))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var first, second bag
		if first.parse(encoded) != nil {
			return
		}
		var again []byte
		for _, property := range first.properties {
			again = fmt.Appendf(again, "%s=%s&", escape(property.Name), escape(property.Value))
		}
		if err := second.parse(again); err != nil {
			t.Fatalf("%q is written again as %q, which is no bag: %v", encoded, again, err)
		}
		if !bytes.Equal([]byte(show(first.properties)), []byte(show(second.properties))) &&
			!strings.Contains(string(again), "$.") {
			t.Errorf("%q: %q became %q", encoded, show(first.properties), show(second.properties))
		}
	})
}

func escape(text []byte) string {
	var b strings.Builder
	for _, c := range text {
		fmt.Fprintf(&b, "%%%02x", c)
	}
	return b.String()
}
