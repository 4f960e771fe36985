# Sourced by run.sh and growth.sh: programs, authd on free ports, and an end that
# leaves nothing behind. Sets root and work, a folder that goes away.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
pids=()
at_end=() # commands, run last to first

clean_up() {
  local pid i
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  for ((i = ${#at_end[@]} - 1; i >= 0; i--)); do eval "${at_end[i]}" || true; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# programs builds the driver, the seeder and authd.
programs() {
  (cd "$root" && go build -trimpath -o "$work/" ./load ./load/seed)
  make -C "$root" --silent build
}

# start NAME FLAGS...: authd on free ports until the script ends. Returns when it
# serves.
start() {
  local name=$1 pid
  shift
  (cd "$work" && exec "$root/bin/authd" serve --http.addr=127.0.0.1:0 --grpc.addr=127.0.0.1:0 --admin.addr=127.0.0.1:0 \
    --nats.url=embedded --nats.embedded.addr=127.0.0.1:0 --shutdown.drain=0s --log.format=json "$@") >"$work/$name.log" 2>&1 &
  pid=$!
  pids+=("$pid")
  for _ in $(seq 600); do
    grep -q '"msg":"serving".*"app":"authd"' "$work/$name.log" && return
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  echo "authd did not start:" >&2
  tail -n 20 "$work/$name.log" >&2
  return 1
}

# address NAME SERVER: host:port of its server http, grpc or "nats embedded".
address() { sed -n "s/.*\"msg\":\"listening\".*\"server\":\"$2\",\"addr\":\"\([^\"]*\)\".*/\1/p" "$work/$1.log" | head -n 1; }
