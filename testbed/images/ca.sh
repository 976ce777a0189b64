#!/bin/sh
# Let's Encrypt's own ACME test server with its DNS, and the tools to look at hosts from another machine's view. BIND is
# for tests that change DNS, slowhttptest for those of slow clients.
set -eu
export DEBIAN_FRONTEND=noninteractive

# The release's pebble knows no profiles. That of unstable needs nothing but a C library, and nothing else is taken from there.
sed '/^$/,$d; s/^Suites:.*/Suites: unstable/' /etc/apt/sources.list.d/debian.sources >/etc/apt/sources.list.d/unstable.sources
cat >/etc/apt/preferences.d/unstable <<'PIN'
Package: *
Pin: release a=unstable
Pin-Priority: -1

Package: pebble
Pin: release a=unstable
Pin-Priority: 100
PIN
install="apt-get install -y -qq --no-install-recommends"
apt-get update -qq || echo "a mirror without unstable" >&2
$install bind9 ca-certificates curl openssl python3 slowhttptest
$install pebble/unstable || $install pebble
apt-get clean
mkdir -p /etc/pebble

cat >/usr/local/bin/acme-ca <<'START'
#!/bin/sh
# Usage: acme-ca NAME — serves ACME at https://NAME:14000/dir; DNS answers are set over http://127.0.0.1:8055.
set -eu
cd /etc/pebble
[ -s acme.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$1" \
    -addext "subjectAltName=DNS:$1,DNS:localhost,IP:127.0.0.1" -addext basicConstraints=critical,CA:TRUE \
    -keyout acme.key -out acme.pem 2>/dev/null
# Of several profiles it takes any one for an order that names none, so it has one; tests start others with more.
cat >config.json <<CONFIG
{"pebble": {
  "listenAddress": "0.0.0.0:14000", "managementListenAddress": "0.0.0.0:15000",
  "certificate": "acme.pem", "privateKey": "acme.key",
  "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": false,
  "retryAfter": {"authz": 1, "order": 1},
  "profiles": {"classic": {"description": "90 days", "validityPeriod": 7776000}}
}}
CONFIG
pebble-challtestsrv -defaultIPv4 "" -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 "" -doh "" &
# Let's Encrypt refuses some nonces and pauses before it looks; neither says anything about the hosts under test. What it
# has validated it takes for granted for a while, by chance; here every order is validated.
export PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 PEBBLE_AUTHZREUSE=0
exec pebble -config config.json -dnsserver 127.0.0.1:8053
START
chmod 0755 /usr/local/bin/acme-ca
