mark='lamella-step:5c7b358c563fdb42'
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
unset CDPATH LD_PRELOAD LD_LIBRARY_PATH
umask 022
ulimit -c 0 2>/dev/null
say() { printf '%s %s\n' "$mark" "$*" >&2; }
now() { read -r uptime rest </proc/uptime || uptime=0; }
fail() { say "$@"; exit 1; }
mkdir -p /lamella/out/product /lamella/out/evidence && : >/lamella/out/stamp || fail out
start_closed() {
  cd -- "$1" || exit 1
  shift
  exec env -i \
    "PWD=$PWD" \
    'HOME=/root' \
    'LANG=C.UTF-8' \
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    'SOURCE_DATE_EPOCH=315532800' \
    "$@"
}
run() {
  now; say "begin $1 $uptime"
  if "unless_$1" </dev/null >/dev/null 2>&1; then now; say "skip $1 $uptime"; return 0; fi
  if [ -n "$2" ]; then ( "command_$1" ) </dev/null >>"$2"; else ( "command_$1" ) </dev/null; fi
  code=$?
  now; say "end $1 $uptime $code"
  [ "$code" -eq 0 ] || exit "$code"
}
[ -d '/' ] || fail 'cwd 0'
unless_0() { return 1; }
command_0() { start_closed '/' 'cp' '-a' '/in/bin/app' '/packed'; }
run 0 ''
collect() {
  if [ -d "$2" ]; then
    mkdir -p -- "/lamella/out/product/$3" && cp -a -- "$2/." "/lamella/out/product/$3/" || fail "copy $1"
  elif [ -f "$2" ]; then
    mkdir -p -- "/lamella/out/product/$5" && cp -pL -- "$2" "/lamella/out/product/$4" || fail "copy $1"
  elif [ -e "$2" ]; then fail "kind $1"
  else fail "missing $1"
  fi
}
collect 0 '/packed' '' 'packed' ''
find /lamella/out/product -type s -exec rm -f {} + 2>/dev/null
find '/in' \( -type f -o -type l \) -newer /lamella/out/stamp -print0 >>/lamella/out/wrote 2>/dev/null
rm -f /lamella/out/stamp
say done
