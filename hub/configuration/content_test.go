package configuration

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/query"
	"github.com/berth-iot/berth/store/storetest"
)

// TestReadContent refuses what can't become desired properties, and says where it is wrong.
func TestReadContent(t *testing.T) {
	device := func(settings string) string { return `{"deviceContent":` + settings + `}` }
	deep := strings.Repeat(`{"a":`, 11) + "1" + strings.Repeat("}", 11)
	for name, c := range map[string]struct{ content, says string }{
		"a path":           {device(`{"properties.desired.fan":{"speed":3}}`), ""},
		"all of them":      {device(`{"properties.desired":{"fan":{"speed":3}}}`), ""},
		"a removal":        {device(`{"properties.desired.fan":null}`), ""},
		"modules":          {`{"modulesContent":{"$edgeAgent":{"properties.desired":{}},"m":{}}}`, ""},
		"nulls beside it":  {`{"deviceContent":{"properties.desired.a":1},"moduleContent":null}`, ""},
		"nothing":          {`null`, "has no content"},
		"no object":        {`[1]`, "not a JSON object"},
		"a string":         {`"x"`, "not a JSON object"},
		"half":             {`{"deviceContent":`, "not JSON"},
		"none of the kind": {`{}`, "exactly one"},
		"two of them":      {`{"deviceContent":{},"moduleContent":{}}`, "exactly one"},
		"an array in it":   {device(`[]`), "deviceContent must be a JSON object"},
		"a number in it":   {`{"modulesContent":7}`, "modulesContent must be a JSON object"},
		"empty":            {device(`{}`), "is empty"},
		"tags":             {device(`{"tags.site":"A"}`), `"tags.site" must be properties.desired`},
		"reported":         {device(`{"properties.reported.a":1}`), "must be properties.desired"},
		"another name":     {device(`{"properties.desiredfan":1}`), "must be properties.desired"},
		"a full stop":      {device(`{"properties.desired.":1}`), "must be properties.desired"},
		"two full stops":   {device(`{"properties.desired.a..b":1}`), "must be properties.desired"},
		"all, no object":   {device(`{"properties.desired":1}`), "must be a JSON object"},
		"a dollar sign":    {device(`{"properties.desired.$version":1}`), "dollar sign"},
		"one within":       {device(`{"properties.desired":{"a":{"$metadata":1}}}`), "dollar sign"},
		"control":          {device(`{"properties.desired":{"a\u0000b":1}}`), "control character"},
		"a space":          {device(`{"properties.desired.a b":1}`), "space"},
		"deep":             {device(`{"properties.desired.x":` + deep + `}`), "nested deeper than 10"},
		"very deep": {device(`{"properties.desired.x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`),
			"nested deeper"},
		"a long path":    {device(`{"properties.desired` + strings.Repeat(".a", 11) + `":1}`), "more than 10 names"},
		"a large number": {device(`{"properties.desired.x":1e400}`), "out of range"},
		"a long string":  {device(`{"properties.desired.x":"` + strings.Repeat("x", 4097) + `"}`), "too long"},
		"too much": {device(`{"properties.desired":{` + strings.Join(members(9, 4000), ",") + `}}`),
			"too large"},
		"null in an array": {device(`{"properties.desired.x":[null]}`), "can't be in an array"},
		"half a character": {device(`{"properties.desired.x":"\ud800"}`), "half a character"},
		"no edge agent":    {`{"modulesContent":{"$edgeHub":{"properties.desired":{}}}}`, "must have the module $edgeAgent"},
		"a system module":  {`{"modulesContent":{"$edgeAgent":{},"$other":{}}}`, "no system module"},
		"a module's id":    {`{"modulesContent":{"$edgeAgent":{},"a/b":{}}}`, "module id"},
		"a module's array": {`{"modulesContent":{"$edgeAgent":{},"m":[]}}`, "modulesContent.m must be"},
		"a module's tags":  {`{"modulesContent":{"$edgeAgent":{"tags.a":1}}}`, "must be properties.desired"},
	} {
		content, err := ReadContent([]byte(c.content))
		if err == nil {
			_, err = content.parse()
		}
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s is refused: %v", name, err)
		case c.says != "" && (!errors.Is(err, fault.InvalidContent) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s is answered %v, want 400402 that says %q", name, err, c.says)
		}
	}
}

func members(n, size int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf(`"p%d":%q`, i, strings.Repeat("x", size)))
	}
	return all
}

// Paths go into what shorter ones set, in whatever order they stand.
func TestPathsOfContent(t *testing.T) {
	object, err := document.Parse([]byte(`{"properties.desired.a.b":2,"properties.desired.c":null,`+
		`"properties.desired":{"a":{"b":1,"d":4}},"properties.desired.e.f":{"g":[1.0]}}`), 9)
	if err != nil {
		t.Fatal(err)
	}
	settings, whole, err := parseSettings("deviceContent", object)
	if want := `{"a":{"b":2,"d":4},"c":null,"e":{"f":{"g":[1.0]}}}`; err != nil || !whole || settings.String() != want {
		t.Errorf("read is %s, %t, error %v, want %s", settings, whole, err, want)
	}
}

// TestCheck refuses configurations that break a rule, with the code of what is wrong.
func TestCheck(t *testing.T) {
	c := &Configurations{config: Config{CheckQuery: func(text string) error {
		_, err := query.Parse(text)
		return err
	}}}
	object := func(text string) document.Object {
		o, err := document.Parse([]byte(text), 9)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	content, err := ReadContent([]byte(`{"deviceContent":{"properties.desired.a":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 129)
	for name, example := range map[string]struct {
		change func(*Configuration)
		code   error
	}{
		"as it should be": {func(*Configuration) {}, nil},
		"labels": {func(c *Configuration) {
			o := object(`{"stage":"test (1)","":""}`)
			c.Labels = &o
		}, nil},
		"a label with a dollar sign": {func(c *Configuration) { o := object(`{"a$":"b"}`); c.Labels = &o },
			fault.ArgumentInvalid},
		"a label's control character": {func(c *Configuration) { o := object(`{"a":"b\n"}`); c.Labels = &o },
			fault.ArgumentInvalid},
		"a label that is a number": {func(c *Configuration) { o := object(`{"a":1}`); c.Labels = &o },
			fault.ArgumentInvalid},
		"a long label": {func(c *Configuration) { o := object(`{"a":"` + long + `"}`); c.Labels = &o },
			fault.ArgumentInvalid},
		"no id":                    {func(c *Configuration) { c.ID = "" }, fault.ArgumentInvalid},
		"an id in capitals":        {func(c *Configuration) { c.ID = "Fan" }, fault.ArgumentInvalid},
		"an id with a slash":       {func(c *Configuration) { c.ID = "a/b" }, fault.ArgumentInvalid},
		"a long id":                {func(c *Configuration) { c.ID = long }, fault.ArgumentInvalid},
		"an id of every character": {func(c *Configuration) { c.ID = "az09-+%_*!'" }, nil},
		"a negative priority":      {func(c *Configuration) { c.Priority = -1 }, fault.ArgumentInvalid},
		"a huge priority":          {func(c *Configuration) { c.Priority = math.MaxInt64 }, fault.ArgumentInvalid},
		"a long schema version":    {func(c *Configuration) { c.SchemaVersion = &long }, fault.ArgumentInvalid},
		"no content":               {func(c *Configuration) { c.Content = Content{} }, fault.InvalidContent},
		"all devices":              {func(c *Configuration) { c.TargetCondition = "*" }, nil},
		"devices as a prefix":      {func(c *Configuration) { c.TargetCondition = "devices.deviceId = 'a'" }, nil},
		"half a condition": {func(c *Configuration) { c.TargetCondition = "tags.site =" },
			fault.InvalidTargetCondition},
		"a condition on the status": {func(c *Configuration) { c.TargetCondition = "status = 'enabled'" },
			fault.InvalidTargetCondition},
		"a condition on desired": {func(c *Configuration) { c.TargetCondition = "properties.desired.a = 1" },
			fault.InvalidTargetCondition},
		"a condition on modules": {func(c *Configuration) { c.TargetCondition = "FROM devices.modules WHERE moduleId = 'a'" },
			fault.InvalidTargetCondition},
		"a deep condition": {func(c *Configuration) {
			c.TargetCondition = strings.Repeat("(", 3000) + "tags.a = 1" + strings.Repeat(")", 3000)
		}, fault.InvalidTargetCondition},
		"a huge condition": {func(c *Configuration) { c.TargetCondition = "tags.a = '" + strings.Repeat("x", 9000) + "'" },
			fault.InvalidTargetCondition},
		"nonsense": {func(c *Configuration) { c.TargetCondition = "\x00; DROP" }, fault.InvalidTargetCondition},
		"a metric": {func(c *Configuration) {
			c.Metrics.Queries = object(`{"slow":"SELECT deviceId FROM devices WHERE properties.reported.a < 3"}`)
		}, nil},
		"a metric that is none": {func(c *Configuration) { c.Metrics.Queries = object(`{"slow":"tags.a"}`) },
			fault.InvalidMetricsQuery},
		"a metric that is a number": {func(c *Configuration) { c.Metrics.Queries = object(`{"slow":1}`) },
			fault.InvalidMetricsQuery},
		"a metric without a name": {func(c *Configuration) { c.Metrics.Queries = object(`{"":"SELECT * FROM devices"}`) },
			fault.InvalidMetricsQuery},
		"six metrics": {func(c *Configuration) {
			for i := range 6 {
				c.Metrics.Queries.Set(fmt.Sprint(i), document.TextOf("SELECT * FROM devices"))
			}
		}, fault.InvalidMetricsQuery},
	} {
		wanted := Configuration{ID: "fan", Content: content, TargetCondition: "tags.site = 'A'"}
		example.change(&wanted)
		if err := c.check(&wanted); !errors.Is(err, example.code) {
			t.Errorf("%s is answered %v, want %v", name, err, example.code)
		}
	}
}

// TestDifference: a patch makes one object of another, and there is none between two that
// mean the same.
func TestDifference(t *testing.T) {
	object := func(text string) document.Object {
		o, err := document.Parse([]byte(text), 9)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	for _, c := range []struct{ from, to, patch string }{
		{`{}`, `{}`, ``}, {`{"a":1}`, `{}`, `{"a":null}`}, {`{"a":{"b":1,"c":2}}`, `{"a":{"b":1,"c":3}}`, `{"a":{"c":3}}`},
		{`{"a":1}`, `{"a":1.0}`, `{"a":1.0}`}, {`{"a":"\u0041"}`, `{"a":"A"}`, ``}, {`{"a":[1,{"b":2}]}`,
			`{"a":[1,{"b":2}]}`, ``},
		{`{"a":[1,2]}`, `{"a":[2,1]}`, `{"a":[2,1]}`}, {`{"a":1,"b":2}`, `{"b":2,"a":1}`, ``},
		{`{"a":1}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`}, {`{"a":{"b":1}}`, `{"a":true}`, `{"a":true}`},
	} {
		from, to := object(c.from), object(c.to)
		patch, any := difference(from, to)
		if any != (c.patch != "") || any && patch.String() != c.patch {
			t.Errorf("from %s to %s: %s, want %s", c.from, c.to, patch, c.patch)
		}
		if from.Merge(patch); any && !equal(document.ValueOf(from), document.ValueOf(to)) {
			t.Errorf("%s patched with %s is %s, want %s", c.from, patch, from, c.to)
		}
	}
	desired, settings := object(`{"a":{"b":1,"c":2},"d":3,"e":{"f":1}}`),
		object(`{"a":{"b":1},"d":4,"e":{"f":1},"g":null}`)
	if left := withdraw(desired, settings); left.String() != `{"a":{"c":2},"d":3}` {
		t.Errorf("without the settings %s is left", left)
	}
}

func TestRoundTrip(t *testing.T) {
	storetest.RoundTrip[stored](t)
	storetest.RoundTrip[state](t)
}
