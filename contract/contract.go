// Package contract is the public contract that devices, back ends and both services
// share: the words that Azure's documentation and SDKs have on the wire, each of them
// written once. A file holds one thing: properties of messages, topics, user names,
// addresses, errors, registrations, certificate requests, results of bulk operations, and
// the addresses that are Berth's own. It knows no service and no protocol server, so the
// endpoints render with it what the clients parse with it.
package contract
