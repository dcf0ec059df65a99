// Package conformance runs Azure's own SDKs, unmodified, against a real `berth
// up` on the real ports: the Python device SDK (python/), and the Node device
// and service SDKs (node/). It is made of tests only, behind the build tag
// conformance:
//
//	sudo go test -count=1 -tags conformance -v ./conformance
//
// It needs the ports 8883, 443 and 8080 and, on the machine, git, python3 with
// venv, node, npm and openssl; it installs the SDKs itself, from the pinned lists
// in python/ and node/, into .venv and node/node_modules beside this file, once.
// The portal is tested in browser/, with Debian's chromium, which it installs too.
package conformance
