PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 022
out=/lamella/out/packages
mkdir -p "$out" || exit 1
if [ -f /var/lib/dpkg/status ]; then cp -L /var/lib/dpkg/status "$out/dpkg-status" || exit 1; fi
if [ -d /var/lib/dpkg/status.d ]; then cp -RL /var/lib/dpkg/status.d "$out/dpkg-status.d" || exit 1; fi
if [ -f /lib/apk/db/installed ]; then cp -L /lib/apk/db/installed "$out/apk-installed" || exit 1; fi
for folder in /usr/lib/sysimage/rpm /var/lib/rpm; do
  for file in "$folder"/*; do
    if [ -e "$file" ]; then
      env -i PATH="$PATH" rpm --query --all --queryformat '%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH}\n' </dev/null >"$out/rpm" || rm -f "$out/rpm"
      break 2
    fi
  done
done
