package fault

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFaultIsFoundInAChain(t *testing.T) {
	beneath := errors.New("disk full")
	err := fmt.Errorf("register: %w", New(DeviceNotFound, "There is no device %q", "d1").Because(beneath))
	if !errors.Is(err, DeviceNotFound) || errors.Is(err, EnrollmentNotFound) || !errors.Is(err, beneath) {
		t.Errorf("%v is not what it is", err)
	}
	if found := From(err); found.Code.Status() != 404 || found.Message != `There is no device "d1"` {
		t.Errorf("found %+v", found)
	}
	if text := err.Error(); !strings.Contains(text, "404001 DeviceNotFound") || !strings.Contains(text, "disk full") {
		t.Errorf("the log would say %q", text)
	}
}

func TestAnythingElseIsInternal(t *testing.T) {
	secret := errors.New("open /secret/path: denied")
	found := From(secret)
	if found.Code != Internal || strings.Contains(found.Message, "secret") || !errors.Is(found, secret) {
		t.Errorf("found %+v", found)
	}
}

func TestTrackingIDs(t *testing.T) {
	guid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	one, two := NewTrackingID(), NewTrackingID()
	if !guid.MatchString(one) || one == two {
		t.Errorf("%s, %s", one, two)
	}
}

func TestEveryCodeHasANameAndAStatus(t *testing.T) {
	for _, code := range Codes() {
		if code.Status() < 400 || code.Status() > 599 || strings.HasPrefix(code.Name(), "Error") {
			t.Errorf("%d: %s, %d", int(code), code.Name(), code.Status())
		}
	}
	if name := Code(499123).Name(); name != "Error499123" {
		t.Errorf("an unknown code is named %s", name)
	}
}

// A message that quotes what a caller wrote at length is cut, in both languages.
func TestMessagesAreBounded(t *testing.T) {
	for _, filling := range []string{"x", "é", "\x00"} {
		long := New(ArgumentInvalid, "The body does not fit: %v", errors.New(strings.Repeat(filling, 60_000)))
		inFrench := long.In(func(string) string { return "Le corps ne convient pas : %v" })
		for _, message := range []string{long.Message, inFrench} {
			if len(message) > maxMessage+10 || !utf8.ValidString(message) {
				t.Errorf("a message of %d bytes: %.60q", len(message), message)
			}
		}
	}
}

func TestPrecondition(t *testing.T) {
	const says = "The device was changed since: its ETag is %s, not %s. Read it again and repeat the change"
	for _, c := range []struct{ ifMatch, etag, shown string }{
		{"", "a", ""},
		{"*", "a", ""},
		{`"*"`, "a", ""},
		{"a", "a", ""},
		{`"a"`, "a", ""},
		{"a", `"a"`, ""},
		{"b", "a", "b"},
		{`"b"`, "a", "b"},
		{`"b"`, `"a"`, `"b"`},
		{"b", `"a"`, "b"},
		{`""`, "a", ""},
	} {
		err := Precondition("device", c.ifMatch, c.etag)
		if holds := c.shown == "" && c.ifMatch != `""`; holds != (err == nil) {
			t.Errorf("If-Match %s of %s is answered %v", c.ifMatch, c.etag, err)
		} else if !holds &&
			(!errors.Is(err, PreconditionFailed) || From(err).Message != fmt.Sprintf(says, c.etag, c.shown)) {
			t.Errorf("If-Match %s of %s is answered %v", c.ifMatch, c.etag, err)
		}
	}
}
