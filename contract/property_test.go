package contract

import (
	"strings"
	"testing"
)

// Every system property has a name of its own in every column, and is found by it
// without allocating.
func TestProperties(t *testing.T) {
	names := make(map[string]Property)
	for i := range properties {
		property := Property(i)
		if other, twice := names[property.String()]; property.String() == "" || twice {
			t.Errorf("property %d is called %q as is %d", i, property, other)
		}
		names[property.String()] = property
		if got := string(property.Bytes()); got != property.String() {
			t.Errorf("%s is %s in bytes", property, got)
		}
		if got, ok := PropertyOfMQTT([]byte(property.MQTT())); ok != (property.MQTT() != "") || ok && got != property {
			t.Errorf("%s of MQTT is %s, %v; want %s", property.MQTT(), got, ok, property)
		}
	}
	for i := range properties {
		property := Property(i)
		spelled := strings.ToUpper(property.HTTPS())
		if got, ok := PropertyOfHTTPS(spelled); ok != (spelled != "") || ok && got != property {
			t.Errorf("the header %s is %s, %v; want %s", spelled, got, ok, property)
		}
	}
	for _, spelled := range []string{"iothub-creationtimeutc", "iothub-app-iothub-Creation-Time-Utc"} {
		if got, ok := PropertyOfHTTPS(spelled); !ok || got != CreationTimeUTC {
			t.Errorf("the header %s is %s, %v", spelled, got, ok)
		}
	}
	for _, spelled := range []string{"iothub-app-messageid", "iothub-app-", "iothub-ack", "messageid", ""} {
		if got, ok := PropertyOfHTTPS(spelled); ok {
			t.Errorf("the header %s is %s", spelled, got)
		}
	}
	if property, ok := PropertyOfMQTT([]byte("$.unknown")); ok {
		t.Errorf("$.unknown is %s", property)
	}
}

func TestPropertiesAllocateNothing(t *testing.T) {
	spelled, own := []byte(ContentType.MQTT()), []byte("level")
	if n := testing.AllocsPerRun(100, func() {
		property, _ := PropertyOfMQTT(spelled)
		_ = property.Bytes()
		PropertyOfMQTT(own)
	}); n != 0 {
		t.Errorf("looking up a property allocates %v times", n)
	}
}
