package attest

import (
	"crypto/elliptic"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

func hostPaths(t *testing.T) []path {
	root := issued(t, "Root", nil, ca)
	unit := issued(t, "Unit", root, ca, permits(host("line.example")))
	without := issued(t, "Without", root, ca, excludes(host("lab.line.example")))
	dotted := issued(t, "Dotted", root, ca, permits(host(".line.example")))
	narrower := issued(t, "Narrower", unit, ca, permits(host("a.line.example")))
	named := issued(t, "Named", unit, ca, hosts("other.example"))
	again := issued(t, "Unit", unit, ca, hosts("other.example"))
	dev := func(by *signer, names ...string) *signer { return issued(t, "dev", by, hosts(names...)) }
	return []path{
		{name: "below", authority: root, chain: chain(dev(unit, "dev.line.example", "LINE.example"), unit)},
		{name: "none", authority: root, chain: chain(dev(unit), unit)},
		{name: "beside", authority: root, chain: chain(dev(unit, "dev.line.example", "dev.online.example"), unit),
			refused: `CN=Unit does not allow the DNS name "dev.online.example" of CN=dev`},
		{name: "its end alone", authority: root, chain: chain(dev(unit, "offline.example"), unit),
			refused: `CN=Unit does not allow the DNS name "offline.example" of CN=dev`},
		{name: "excluded", authority: root, chain: chain(dev(without, "d.lab.line.example"), without),
			refused: `CN=Without does not allow the DNS name "d.lab.line.example"`},
		{name: "beside what is excluded", authority: root, chain: chain(dev(without, "d.line.example"), without)},
		{name: "a wildcard below", authority: root, chain: chain(dev(unit, "*.line.example"), unit)},
		{name: "a wildcard that may be excluded", authority: root,
			chain:   chain(dev(without, "*.line.example"), without),
			refused: `CN=Without does not allow the DNS name "*.line.example"`,
			differs: "it could stand for the excluded host; openssl compares it as it is written"},
		{name: "with a full stop, below", authority: root, chain: chain(dev(dotted, "dev.line.example"), dotted)},
		{name: "with a full stop, the same", authority: root, chain: chain(dev(dotted, "line.example"), dotted),
			refused: `CN=Dotted does not allow`},
		{name: "in both of two", authority: root, chain: chain(dev(narrower, "d.a.line.example"), narrower, unit)},
		{name: "in one of two", authority: root, chain: chain(dev(narrower, "d.b.line.example"), narrower, unit),
			refused: `CN=Narrower does not allow the DNS name "d.b.line.example" of CN=dev`},
		{name: "of one in between", authority: root, chain: chain(dev(named, "dev.line.example"), named, unit),
			refused: `CN=Unit does not allow the DNS name "other.example" of CN=Named`},
		{name: "of a new key of the same", authority: root,
			chain: chain(dev(again, "dev.line.example"), again, unit)},
		{name: "of the enrolled authority", authority: unit, chain: chain(dev(unit, "dev.other.example")),
			refused: `CN=Unit does not allow the DNS name "dev.other.example" of CN=dev`},
		{name: "a common name like one", authority: root, chain: chain(issued(t, "dev.other.example", unit), unit),
			differs: "the common name is a registration id; openssl takes it for a DNS name when it has full stops"},
	}
}

func addressPaths(t *testing.T) []path {
	root := issued(t, "Root", nil, ca)
	mail := issued(t, "Mail", root, ca, permits(mailbox("line.example")))
	below := issued(t, "Mail below", root, ca, permits(mailbox(".line.example")))
	ops := issued(t, "Ops", root, ca, permits(mailbox("ops@line.example")))
	noMail := issued(t, "No mail", root, ca, excludes(mailbox("line.example")))
	net4 := issued(t, "Net", root, ca, permits(network(t, "10.1.0.0/16"), network(t, "fd00::/16")))
	noNet := issued(t, "No net", root, ca, excludes(network(t, "10.1.0.0/16")))
	web := issued(t, "Web", root, ca, permits(uri("line.example")))
	webBelow := issued(t, "Web below", root, ca, permits(uri(".line.example")))
	noWeb := issued(t, "No web", root, ca, excludes(uri("line.example")))
	names := issued(t, "Names", root, ca, permits(host("line.example")))
	inSubject := pkix.Name{CommonName: "dev", ExtraNames: []pkix.AttributeTypeAndValue{{Type: oidEmailAddress,
		Value: asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte("dev@other.example")}}}}
	dev := func(by *signer, changes ...change) []*signer { return chain(issued(t, "dev", by, changes...), by) }
	return []path{
		{name: "a mailbox of the host", authority: root, chain: dev(mail, mailboxes("dev@LINE.example"))},
		{name: "a mailbox of another host", authority: root, chain: dev(mail, mailboxes("dev@other.example")),
			refused: `CN=Mail does not allow the e-mail address "dev@other.example" of CN=dev`},
		{name: "a mailbox of a host below", authority: root, chain: dev(mail, mailboxes("dev@a.line.example")),
			refused: `CN=Mail does not allow`},
		{name: "with a full stop, a mailbox of a host below", authority: root,
			chain: dev(below, mailboxes("dev@a.line.example"))},
		{name: "with a full stop, a mailbox of the host", authority: root,
			chain: dev(below, mailboxes("dev@line.example")), refused: `CN=Mail below does not allow`},
		{name: "that mailbox", authority: root, chain: dev(ops, mailboxes("ops@Line.example"))},
		{name: "another mailbox", authority: root, chain: dev(ops, mailboxes("dev@line.example")),
			refused: `CN=Ops does not allow the e-mail address "dev@line.example"`},
		{name: "an excluded mailbox", authority: root, chain: dev(noMail, mailboxes("dev@line.example")),
			refused: `CN=No mail does not allow`},
		{name: "an address with two @", authority: root, chain: dev(mail, mailboxes("a@b@line.example")),
			refused: `CN=Mail does not allow the e-mail address "a@b@line.example"`,
			differs: "it is no address; openssl looks at what stands after the last @"},
		{name: "an address in the subject", authority: root,
			chain:   chain(issuedFor(t, newKey(t, elliptic.P256()), inSubject, mail), mail),
			refused: `CN=Mail does not allow the e-mail address "dev@other.example"`},
		{name: "an IP address of the network", authority: root, chain: dev(net4, addresses("10.1.2.3", "fd00::1"))},
		{name: "an IP address of another network", authority: root, chain: dev(net4, addresses("10.2.0.1")),
			refused: `CN=Net does not allow the IP address 10.2.0.1 of CN=dev`},
		{name: "an IP address of version 6 of another network", authority: root,
			chain: dev(net4, addresses("fe80::1")), refused: `CN=Net does not allow the IP address fe80::1`},
		{name: "an excluded IP address", authority: root, chain: dev(noNet, addresses("10.1.2.3")),
			refused: `CN=No net does not allow the IP address 10.1.2.3`},
		{name: "a URI of the host", authority: root, chain: dev(web, uris("https://Line.example:8443/dev"))},
		{name: "a URI of a host below", authority: root, chain: dev(web, uris("https://a.line.example/")),
			refused: `CN=Web does not allow the URI "https://a.line.example/" of CN=dev`},
		{name: "with a full stop, a URI of a host below", authority: root,
			chain: dev(webBelow, uris("https://a.line.example/"))},
		{name: "an excluded URI", authority: root, chain: dev(noWeb, uris("https://line.example/")),
			refused: `CN=No web does not allow the URI`},
		{name: "a URI without a host", authority: root, chain: dev(web, uris("urn:dev:mac:0024befffe804ff1")),
			refused: `CN=Web does not allow the URI "urn:dev:mac:0024befffe804ff1"`},
		{name: "a URI without a host, and other constraints", authority: root,
			chain: dev(names, uris("urn:dev:mac:0024befffe804ff1"))},
	}
}

func directoryPaths(t *testing.T) []path {
	root := issued(t, "Root", nil, ca)
	works := pkix.Name{Organization: []string{"Example Works"}}
	under := func(by *signer, organization any, rest ...change) *signer {
		name := pkix.Name{CommonName: "dev", ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: organization}, {Type: asn1.ObjectIdentifier{2, 5, 4, 3},
				Value: "dev"}}}
		return issuedFor(t, newKey(t, elliptic.P256()), name, by, rest...)
	}
	within := issued(t, "Within", root, ca, permits(directory(works)))
	without := issued(t, "Without", root, ca, excludes(directory(works)))
	again := issued(t, "Within", within, ca)
	alternative := func(name pkix.Name) change {
		return with(false, []asn1.RawValue{directory(name)}, 2, 5, 29, 17)
	}
	return []path{
		{name: "within", authority: root, chain: chain(under(within, "Example Works"), within)},
		{name: "elsewhere", authority: root, chain: chain(under(within, "Other Works"), within),
			refused: "CN=Within does not allow the name"},
		{name: "no organization", authority: root, chain: chain(issued(t, "dev", within), within),
			refused: "CN=Within does not allow the name CN=dev of CN=dev"},
		{name: "within, in other letters and spaces", authority: root,
			chain: chain(under(within, "EXAMPLE  works "), within)},
		{name: "within, in UTF-8", authority: root,
			chain: chain(under(within, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte("Example Works")}),
				within)},
		{name: "excluded", authority: root, chain: chain(under(without, "Example Works"), without),
			refused: "CN=Without does not allow the name"},
		{name: "beside what is excluded", authority: root, chain: chain(under(without, "Other Works"), without)},
		{name: "of a new key of the same", authority: root,
			chain: chain(under(again, "Example Works"), again, within)},
		{name: "an alternative name within", authority: root,
			chain: chain(under(within, "Example Works", alternative(works)), within)},
		{name: "an alternative name elsewhere", authority: root,
			chain: chain(under(within, "Example Works", alternative(pkix.Name{Organization: []string{"Other"}})),
				within),
			refused: "CN=Within does not allow the name O=Other of CN=dev,O=Example Works"},
	}
}
