// Package conformance runs Azure's own SDKs, unmodified, against a real `berth
// up` on the real ports: the Python, Node and Java device and service SDKs (python/,
// node/, java/). It is made of tests only, behind the build tag conformance:
//
//	sudo go test -count=1 -tags conformance -v ./conformance
//
// It needs the ports 8883, 443 and 8080 and, on the machine, git, python3 with
// venv, node, npm, a JDK with Maven and openssl; it installs the SDKs itself, from the
// pinned lists in python/, node/ and java/, into .venv, node/node_modules and java/lib
// beside this file, once.
// The portal is tested in browser/, with Debian's chromium, which it installs too.
package conformance
