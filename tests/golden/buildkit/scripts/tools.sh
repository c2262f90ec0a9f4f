mark='lamella-step:6d475a9398bbb5d7'
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
unset CDPATH LD_PRELOAD LD_LIBRARY_PATH
umask 022
ulimit -c 0 2>/dev/null
say() { printf '%s %s\n' "$mark" "$*" >&2; }
now() { read -r uptime rest </proc/uptime || uptime=0; }
fail() { say "$@"; exit 1; }
start_open() {
  cd -- "$1" || exit 1
  shift
  exec env -i \
    "PWD=$PWD" \
    'HOME=/root' \
    'LANG=C.UTF-8' \
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    'SOURCE_DATE_EPOCH=315532800' \
    ${http_proxy+"http_proxy=$http_proxy"} \
    ${HTTP_PROXY+"HTTP_PROXY=$HTTP_PROXY"} \
    ${https_proxy+"https_proxy=$https_proxy"} \
    ${HTTPS_PROXY+"HTTPS_PROXY=$HTTPS_PROXY"} \
    ${ftp_proxy+"ftp_proxy=$ftp_proxy"} \
    ${FTP_PROXY+"FTP_PROXY=$FTP_PROXY"} \
    ${no_proxy+"no_proxy=$no_proxy"} \
    ${NO_PROXY+"NO_PROXY=$NO_PROXY"} \
    ${all_proxy+"all_proxy=$all_proxy"} \
    ${ALL_PROXY+"ALL_PROXY=$ALL_PROXY"} \
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
command_0() { start_open '/' 'sh' '-c' 'mkdir -p /opt/tool && echo tool >/opt/tool/run && chmod 750 /opt/tool/run && chown 7:8 /opt/tool/run'; }
run 0 ''
[ -d '/' ] || fail 'cwd 1'
unless_1() { return 1; }
command_1() { start_open '/' 'sh' '-c' 'ln -s run /opt/tool/link && rm /etc/gone'; }
run 1 ''
say done
