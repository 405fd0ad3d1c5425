# What the scripts have in common: steps with durations, a throw-away PostgreSQL, installing.
# Sourced by scripts/test, scripts/check and scripts/bench; does nothing by itself.

work=$(mktemp -d "${TMPDIR:-/tmp}/bursar-scripts.XXXXXX")
chmod 711 "$work"
log="$work/step.log"
postgres_port=""
started=()

say() { printf '%s\n' "$*"; }

die() {
  printf 'scripts: %s\n' "$*" >&2
  exit 1
}

# Ends a process that was started here; at once if it does not end in ten seconds.
stop() {
  local tries
  for tries in $(seq 100); do
    # again and again: a signal between fork and exec is lost
    if ! kill "$1" 2>/dev/null; then break; fi
    if [ "$tries" = 1 ]; then sleep 0.05; else sleep 0.1; fi
    [ "$tries" -lt 100 ] || kill -9 "$1" 2>/dev/null || true
    case $(sed 's/^.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) in '' | Z) break ;; esac
  done
  wait "$1" 2>/dev/null || true
  # its number may soon be somebody else's
  local pid left=()
  for pid in "${started[@]}"; do [ "$pid" = "$1" ] || left+=("$pid"); done
  started=("${left[@]}")
}

# Runs at every exit, whatever the reason: ends what was started here and removes its files.
clean_up() {
  local status=$? pid
  trap - EXIT
  set +e
  for pid in "${started[@]}"; do stop "$pid"; done
  if [ -n "$postgres_port" ]; then
    as_postgres "$postgres_bin/pg_ctl" -D "$work/postgres/data" -m immediate -w -t 30 stop >/dev/null 2>&1
  fi
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# step NAME COMMAND...: quiet unless it fails; its output stays in $log.
step() {
  local name=$1 begun=$EPOCHREALTIME
  shift
  printf '%-58s' "$name"
  if "$@" >"$log" 2>&1 </dev/null; then
    printf ' ok %8s\n' "$(since "$begun")"
  else
    local status=$?
    printf ' FAILED %s (exit %s)\n\n' "$(since "$begun")" "$status"
    cat "$log"
    say
    say "failed: $name"
    say "  $*"
    exit "$status"
  fi
}

# Seconds since a moment of EPOCHREALTIME.
since() {
  awk -v a="${1/,/.}" -v b="${EPOCHREALTIME/,/.}" 'BEGIN { printf "%.1f s", b - a }'
}

# install_packages PACKAGE...: from Debian's packages, where that is possible.
install_packages() {
  local root=()
  command -v apt-get >/dev/null || die "needs $*, and there is no apt-get to install it with"
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || die "needs $*; install it: sudo apt-get install $*"
    root=(sudo -n)
  fi
  say "installing $*"
  {
    # nobody needs the server that the package would start by itself
    if [[ " $* " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
      "${root[@]}" mkdir -p /etc/postgresql-common
      printf 'create_main_cluster = false\n' | "${root[@]}" tee /etc/postgresql-common/createcluster.conf
    fi
    "${root[@]}" apt-get update &&
      "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        -o Dpkg::Options::=--force-confold "$@"
  } >"$log" 2>&1 </dev/null || { cat "$log" && die "could not install $*"; }
}

# What every build needs: a Rust toolchain, which is not ours to install, and a C compiler.
need_compilers() {
  local wanted
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  command -v cargo >/dev/null || die "needs Rust $wanted or newer with cargo: see https://rustup.rs"
  cargo fmt --version >/dev/null 2>&1 || die "needs rustfmt: rustup component add rustfmt"
  cargo clippy --version >/dev/null 2>&1 || die "needs clippy: rustup component add clippy"
  if ! command -v cc >/dev/null; then
    install_packages gcc libc6-dev
  fi
}

# Where the programs of PostgreSQL are; the newest when there are several. Sets postgres_bin.
find_postgres() {
  local found
  found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
  if [ -n "$found" ] && [ -x "$found/initdb" ]; then
    postgres_bin=$found
  elif command -v initdb >/dev/null && command -v pg_ctl >/dev/null; then
    postgres_bin=$(dirname "$(command -v initdb)")
  else
    return 1
  fi
}

# PostgreSQL refuses to run as root, so somebody else runs it then.
as_postgres() {
  local somebody=postgres
  if [ "$(id -u)" != 0 ]; then
    "$@"
    return
  fi
  id "$somebody" >/dev/null 2>&1 || somebody=nobody
  (cd "$work/postgres" && setpriv --reuid="$somebody" --regid="$(id -g "$somebody")" --clear-groups "$@")
}

# Starts a throw-away PostgreSQL on a free port of 127.0.0.1. Sets postgres_port.
start_postgres() {
  local port tries
  if ! find_postgres; then
    install_packages postgresql
    find_postgres || die "PostgreSQL was installed, but there is no initdb in /usr/lib/postgresql/*/bin"
  fi
  mkdir -p "$work/postgres"
  if [ "$(id -u)" = 0 ]; then
    chown "$(id -u postgres 2>/dev/null || id -u nobody)" "$work/postgres"
  fi
  # syncs while running are part of what is tested; those of making the folder are not
  as_postgres "$postgres_bin/initdb" -D "$work/postgres/data" -U postgres -A trust -E UTF8 --locale=C --no-sync \
    >"$log" 2>&1 || { cat "$log" && die "initdb failed"; }
  for tries in 1 2 3 4 5 6 7 8; do
    port=$((20000 + RANDOM % 20000))
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
    if as_postgres "$postgres_bin/pg_ctl" -D "$work/postgres/data" -l "$work/postgres/log" -w -t 60 \
      -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 -c fsync=on" \
      start >"$log" 2>&1; then
      postgres_port=$port
      return
    fi
  done
  cat "$log" "$work/postgres/log" >&2
  die "PostgreSQL did not start after $tries tries"
}
