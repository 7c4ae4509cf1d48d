#!/usr/bin/env bash
# Makes a Debian machine with Node.js 20 (or newer) and npm ready to run this system.
#
#   ./setup.sh         what `npm start` needs: ffmpeg and the npm packages
#   ./setup.sh test    also what `npm test` needs: Chromium, Redis, PostgreSQL, and nginx, Varnish and
#                     Apache Traffic Server as CDNs
#
# It may be run again at any time and then does only what is missing. It starts no service. It talks to Debian's and
# npm's package registries as this machine is set up to reach them, and to nothing else.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

readonly NODE_MAJOR_MIN=20
readonly APT_LOCK_TIMEOUT_S=500

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

usage() {
  cat <<'TEXT'
Usage: ./setup.sh [test]

  ./setup.sh        installs what `npm start` needs (ffmpeg, npm packages)
  ./setup.sh test   installs what `npm test` needs as well (Chromium, Redis, PostgreSQL, CDNs)

Only what is missing is installed; nothing is started.
TEXT
}

# Servers are often in sbin, which is not on everybody's PATH.
has_command() { PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }
has_postgres() { has_command postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }

# Sets the array `missing` to the Debian packages of a purpose whose programs are not there.
find_missing_packages() {
  missing=()
  has_command ffmpeg && has_command ffprobe || missing+=(ffmpeg)
  if [[ $1 == test ]]; then
    has_command chromium || missing+=(chromium)
    has_command redis-server || missing+=(redis-server)
    has_command redis-cli || missing+=(redis-tools)
    has_postgres || missing+=(postgresql)
    has_command nginx || missing+=(nginx)
    # With it nginx wakes those who wait for an object at once.
    [[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ]] || missing+=(libnginx-mod-http-lua)
    has_command varnishd || missing+=(varnish)
    has_command traffic_server || missing+=(trafficserver)
    has_command openssl || missing+=(openssl)
  fi
}

# Runs a command as root, with sudo where needed.
as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# Debian starts a server when its package is installed, unless policy-rc.d says no. One that is already there stays.
readonly POLICY=/usr/sbin/policy-rc.d
policy_is_ours=no
forbid_service_starts() {
  [[ -e $POLICY ]] && return
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
  policy_is_ours=yes
  as_root chmod 755 "$POLICY"
}
allow_service_starts() {
  [[ $policy_is_ours == no ]] || as_root rm -f "$POLICY"
  policy_is_ours=no
}

install_packages() {
  local -a packages=("$@")
  has_command apt-get || fail "these are missing: ${packages[*]}" \
    'This is not a Debian system (no apt-get). Install them by other means and run this again.'
  if [[ $EUID -ne 0 ]]; then
    has_command sudo || fail "these Debian packages are missing: ${packages[*]}" \
      'Installing them needs root: run this as root, or install sudo.'
    say "asking sudo for the right to install packages"
    sudo -v || fail 'sudo gave no permission to install packages.' \
      "An administrator can do it: apt-get install --no-install-recommends ${packages[*]}"
  fi
  say "installing Debian packages: ${packages[*]}"
  trap allow_service_starts EXIT
  forbid_service_starts
  apt_get update || fail 'apt-get update failed (see above).' \
    'Check the network and /etc/apt/sources.list, then run this again.'
  apt_get install -y --no-install-recommends "${packages[@]}" || fail 'apt-get install failed (see above).' \
    'Nothing was removed. Mend what apt-get complains about, then run this again.'
  allow_service_starts
  trap - EXIT
  keep_servers_off "${packages[@]}"
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o "DPkg::Lock::Timeout=$APT_LOCK_TIMEOUT_S" "$@"
}

# Servers that came with this script must not come up with the next boot either: tests start their own.
keep_servers_off() {
  has_command systemctl || return 0
  local package
  for package in "$@"; do
    case $package in
      redis-server | postgresql | nginx | varnish | trafficserver)
        as_root systemctl disable "$package" >/dev/null 2>&1 ||
          say "note: $package may start at the next boot (systemctl disable $package did not work)"
        # Its log writer comes as a service of its own.
        [[ $package != varnish ]] || as_root systemctl disable varnishncsa >/dev/null 2>&1 || true
        ;;
    esac
  done
}

check_node() {
  has_command node || fail "Node.js is missing; version $NODE_MAJOR_MIN or newer is needed."
  has_command npm || fail 'npm is missing; it comes with Node.js, or as the Debian package npm.'
  local version major
  version=$(node --version) || fail 'node does not run (see above).'
  major=${version#v}
  major=${major%%.*}
  ((major >= NODE_MAJOR_MIN)) ||
    fail "Node.js $version is too old; $NODE_MAJOR_MIN or newer is needed to install the packages."
  if [[ $(uname -s)-$(uname -m) != Linux-x86_64 ]] && ((major < 24)); then
    fail "Node.js 24 comes with the npm packages on Linux x86-64 only; this is $(uname -s) $(uname -m)." \
      "Install Node.js 24 or newer here (this one is $version)."
  fi
}

# Whether node_modules holds exactly what package-lock.json asks for on this machine.
node_modules_match_lock() {
  [[ -f node_modules/.package-lock.json ]] || return 1
  node -e '
    const { existsSync, readFileSync } = require("node:fs");
    const read = (path) => JSON.parse(readFileSync(path, "utf8")).packages;
    const wanted = read("package-lock.json");
    const present = read("node_modules/.package-lock.json");
    const fits = (list, value) => !list || list.includes(value);
    const same = (path, entry) =>
      present[path]?.version === entry.version &&
      (!entry.integrity || present[path].integrity === entry.integrity) &&
      existsSync(path + "/package.json");
    const missing = Object.entries(wanted).filter(
      ([path, entry]) =>
        path !== "" && !entry.link && fits(entry.os, process.platform) && fits(entry.cpu, process.arch) &&
        !(entry.libc && entry.optional) && !entry.peer && !same(path, entry),
    );
    const surplus = Object.keys(present).filter((path) => !(path in wanted));
    process.exit(missing.length + surplus.length === 0 ? 0 : 1);
  '
}

install_node_modules() {
  if node_modules_match_lock; then
    say 'npm packages: all there'
    return
  fi
  say 'installing npm packages as package-lock.json says (about 500 MB on disk)'
  local -a npm_ci=(npm ci --no-audit --no-fund --no-update-notifier --loglevel=error)
  local owner
  owner=$(stat -c %U .)
  # Under sudo the folder's owner shall own the packages too, or later runs without sudo fail.
  if [[ $EUID -eq 0 && -n ${SUDO_USER:-} && $SUDO_USER != root && $owner == "$SUDO_USER" ]]; then
    npm_ci=(sudo -u "$SUDO_USER" -H env "PATH=$PATH" "${npm_ci[@]}")
  fi
  "${npm_ci[@]}" || fail 'npm ci failed (see above).' \
    'When it could not download: check the network and the registry that npm is set up for (npm config get registry).' \
    'When it says that the lock file does not match: package.json was edited by hand; run npm install once.'
}

check_result() {
  local version
  version=$(PATH="$PWD/node_modules/.bin:$PATH" node --version) || fail 'the Node.js of the npm packages does not run.' \
    'Remove node_modules and run this again.'
  local major=${version#v}
  ((${major%%.*} >= 24)) || fail "npm did not install Node.js 24 (found $version)." \
    'Optional packages may be switched off: see npm config get omit. Remove node_modules and run this again.'
  say "ready: Node.js $version, $(ffmpeg -version | head -n 1 | cut -d' ' -f1-3)"
}

main() {
  local purpose=start
  case ${1:-} in
    '') ;;
    test) purpose=test ;;
    -h | --help)
      usage
      return
      ;;
    *)
      usage >&2
      fail "unknown argument: $1"
      ;;
  esac
  (($# <= 1)) || fail 'at most one argument is expected; see ./setup.sh --help'

  say "preparing this machine for \`npm $purpose\`"
  check_node
  local -a missing
  find_missing_packages "$purpose"
  if ((${#missing[@]} > 0)); then install_packages "${missing[@]}"; else say 'programs: all there'; fi
  install_node_modules
  check_result
  if [[ $purpose == test ]]; then say 'next: npm test'; else say 'next: npm start'; fi
}

main "$@"
