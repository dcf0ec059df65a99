// Package guard bounds what devices and back ends may ask of the provisioning service: how
// often, what a search for a token's key costs, and who is locked out for a while because
// too many devices at its address failed to prove themselves.
package guard

import (
	"net"
	"net/netip"
)

// SourceOf is the source that a remote address belongs to, "" for none: an IPv4 address,
// or an IPv6 network of 64 bits.
func SourceOf(remote string) string {
	address := AddressOf(remote)
	switch {
	case !address.IsValid():
		return ""
	case address.Is4():
		return address.String()
	}
	return netip.PrefixFrom(address, 64).Masked().String()
}

// AddressOf is the IP address of a device at host:port or host; the zero Addr when
// it is none.
func AddressOf(remote string) netip.Addr {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		remote = host
	}
	address, err := netip.ParseAddr(remote)
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}
