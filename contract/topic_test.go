package contract

import "testing"

func TestAnswerTopics(t *testing.T) {
	topic := TwinAnswers.Topic(204, "7") + "&$version=3"
	if topic != "$iothub/twin/res/204/?$rid=7&$version=3" {
		t.Errorf("an answer goes to %s", topic)
	}
	for _, c := range []struct {
		topic, status, parameters string
		ok                        bool
	}{
		{topic, "204", "$rid=7&$version=3", true},
		{"$iothub/twin/res/200/?", "200", "", true},
		{"$iothub/twin/res/200", "200", "", true},
		{"$iothub/twin/res/", "", "", true},
		{RegistrationAnswers.Topic(200, "7"), "", "", false},
		{"", "", "", false},
	} {
		status, parameters, ok := TwinAnswers.Cut(c.topic)
		if status != c.status || parameters != c.parameters || ok != c.ok {
			t.Errorf("%q is split into %q, %q, %v", c.topic, status, parameters, ok)
		}
	}
}
