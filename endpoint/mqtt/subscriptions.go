package mqtt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/wire/mqtt"
)

// maxFilter bounds a topic filter in bytes: the hub keeps those of its devices.
const maxFilter = 1 << 10

// subscriptions are topic filters, each with the QoS granted.
type subscriptions []mqtt.Subscription

// set adds a filter or, of one that is there, changes the QoS. It reports false when
// there are as many as a device may have.
func (s *subscriptions) set(filter string, qos byte) bool {
	if i := s.index(filter); i >= 0 {
		(*s)[i].QoS = qos
		return true
	}
	if len(*s) == connection.MaxSubscriptions {
		return false
	}
	*s = append(*s, mqtt.Subscription{Filter: filter, QoS: qos})
	return true
}

func (s *subscriptions) remove(filter string) {
	if i := s.index(filter); i >= 0 {
		*s = slices.Delete(*s, i, i+1)
	}
}

func (s *subscriptions) index(filter string) int {
	return slices.IndexFunc(*s, func(own mqtt.Subscription) bool { return own.Filter == filter })
}

// qos is that with which a message on this topic is sent, the greatest of the filters
// that match it; mqtt.Refused when none does [MQTT-3.3.5-1].
func (s subscriptions) qos(topic string) byte {
	granted := mqtt.Refused
	for _, own := range s {
		if (granted == mqtt.Refused || own.QoS > granted) && matches(own.Filter, topic) {
			granted = own.QoS
		}
	}
	return granted
}

// spelling returns an id as the filters have it, percent-encoded or not: clients that encode
// it compare topics with what they have subscribed to.
func (s subscriptions) spelling(id string) string {
	for _, own := range s {
		if spelled := idOf(own.Filter); spelled != id && contract.Unescape(spelled) == id {
			return spelled
		}
	}
	return id
}

// names are the subscriptions as the hub keeps them for a client that comes back.
func (s subscriptions) names() []string {
	names := make([]string, len(s))
	for i, own := range s {
		names[i] = fmt.Sprintf("%d %s", own.QoS, own.Filter)
	}
	return names
}

// namedSubscriptions are those that the hub has kept.
func namedSubscriptions(names []string) subscriptions {
	found := make(subscriptions, 0, len(names))
	for _, name := range names {
		qos, filter, _ := strings.Cut(name, " ")
		if n, err := strconv.ParseUint(qos, 10, 1); err == nil && filter != "" {
			found = append(found, mqtt.Subscription{Filter: filter, QoS: byte(n)})
		}
	}
	return found
}

// grant adds those of the subscriptions whose filters can match one of these forms of
// topics. It returns the QoS granted to each, or Refused, and the first that was.
func (s *subscriptions) grant(asked []mqtt.Subscription, forms []string) (codes []byte, refused string) {
	codes = make([]byte, len(asked))
	for i, one := range asked {
		codes[i] = min(one.QoS, 1)
		if len(one.Filter) > maxFilter || !canMatch(one.Filter, forms) || !s.set(one.Filter, codes[i]) {
			codes[i] = mqtt.Refused
			if refused == "" {
				refused = one.Filter
			}
		}
	}
	return codes, refused
}

// answerForm is the form of the topics on which requests of a kind are answered.
func answerForm(answers contract.Answers) string { return string(answers) + "{number}/?$rid={id}" }

// canMatch reports whether a filter matches a topic of one of these forms. A form is a
// topic in which a level may have a part in braces: {number} stands for digits, and
// another for whatever a level may hold. A level that begins with an equals sign has an
// id after it, which may also be percent-encoded.
func canMatch(filter string, forms []string) bool {
	return slices.ContainsFunc(forms, func(form string) bool { return matchLevels(filter, form, fitsForm) })
}

// matches reports whether a filter matches a topic.
func matches(filter, topic string) bool {
	return matchLevels(filter, topic, func(level, of string) bool { return level == of })
}

// matchLevels holds a filter against a topic or a form, level by level. fits decides
// about a level without wildcard.
func matchLevels(filter, topic string, fits func(level, of string) bool) bool {
	if topic[0] == '$' && (filter[0] == '+' || filter[0] == '#') { // [MQTT-4.7.2-1]
		return false
	}
	for {
		level, filterRest, filterGoesOn := strings.Cut(filter, "/")
		if level == "#" {
			return true
		}
		of, topicRest, topicGoesOn := strings.Cut(topic, "/")
		if level != "+" && !fits(level, of) {
			return false
		}
		if !topicGoesOn || !filterGoesOn {
			return topicGoesOn == filterGoesOn || filterGoesOn && filterRest == "#" // which is its parent's too
		}
		filter, topic = filterRest, topicRest
	}
}

func fitsForm(level, form string) bool {
	if id, ok := strings.CutPrefix(form, "="); ok {
		return level == id || contract.Unescape(level) == id
	}
	prefix, variable, varies := strings.Cut(form, "{")
	if !varies {
		return level == form
	}
	rest, ok := strings.CutPrefix(level, prefix)
	if variable == "number}" {
		_, err := strconv.ParseUint(rest, 10, 63)
		return ok && err == nil
	}
	return ok
}
