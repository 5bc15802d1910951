#!/usr/bin/env bash
# Web, files, storage, remote access, mail, monitoring, industry. Sourced by
# scripts/make-captures.sh.

# python_client PORT BYTES - sends BYTES (a Python literal) to the server, waits for an answer.
python_client() {
  client python3 -c "
import socket
s = socket.create_connection(('$S', $1), 2)
s.settimeout(1)
s.sendall($2)
s.recv(2000)"
}

# listener PORT - accepts, reads, never answers.
listener() {
  serve "$BUN" "$ROOT/test/captures/make/npm-clients.ts" "$NPM_FOLDER" listen "$1"
  await tcp "$1"
}

scenario_http() {
  mkdir -p "$WORK/www/app1" "$WORK/www/other" && chmod -R 777 "$WORK/www"
  echo hello | tee "$WORK/www/app1/report.bin" >"$WORK/www/other/report.bin"
  printf 'daemon off;\npid %s;\nerror_log stderr;\nevents {}\nhttp {\n access_log off;\n%s\n}\n' \
    "$WORK/nginx.pid" "server { listen 80; root $WORK/www;
      location / { dav_methods PUT DELETE; client_body_temp_path $WORK/b; } }" >"$WORK/nginx.conf"
  serve nginx -c "$WORK/nginx.conf"
  await tcp 80 && record
  local base=http://$S
  client curl -s $base/app1/report.bin
  client curl -s -T "$WORK/www/other/report.bin" $base/app1/upload.bin
  client curl -s -d name=value $base/app1/orders
  client curl -s $base/other/report.bin
  client curl -s -A app1-agent/2.1 $base/
  client curl -s -H 'X-Application: app1' $base/other/
  client curl -sI -0 $base/
  client curl -s -X OPTIONS $base/
  client curl -s -X DELETE $base/app1/upload.bin
  client wget -q -O /dev/null $base/app1/report.bin
  client python3 -c "import urllib.request as u; u.urlopen('$base/other/report.bin').read()"
  client "$BUN" -e "await fetch('$base/other/report.bin')"
  FLOWS_A_PORT_MAX=16 finish tcp:80=http
}

scenario_http2() {
  serve nghttpd --no-tls -d /tmp 8080
  await tcp 8080 && record
  client curl -s --http2-prior-knowledge http://$S:8080/
  client nghttp -n http://$S:8080/
  client h2load -n 2 http://$S:8080/
  finish tcp:8080=http2
}

scenario_ssh() {
  mkdir -p /run/sshd
  ssh-keygen -q -t ed25519 -N '' -f "$WORK/host"
  serve /usr/sbin/sshd -D -e -f /dev/null -h "$WORK/host" -p 22
  await tcp 22 && record
  client ssh -o StrictHostKeyChecking=no -o BatchMode=yes -o UserKnownHostsFile=/dev/null nobody@$S
  client ssh-keyscan -T 1 $S
  typed '' nc -q1 $S 22
  finish tcp:22=ssh
}

scenario_ftp() {
  mkdir -p "$WORK/empty" "$WORK/ftp" && chmod 555 "$WORK/empty" "$WORK/ftp"
  printf 'listen=YES\nlisten_ipv6=NO\nanonymous_enable=YES\nseccomp_sandbox=NO\n%s\n%s\n' \
    "secure_chroot_dir=$WORK/empty" "anon_root=$WORK/ftp" >"$WORK/vsftpd.conf"
  serve vsftpd "$WORK/vsftpd.conf"
  await tcp 21 && record
  client curl -s ftp://$S/
  client wget -q -O /dev/null ftp://$S/none
  finish tcp:21=ftp
}

scenario_tftp() {
  mkdir -p "$WORK/tftp" && chmod 777 "$WORK/tftp" && echo hi >"$WORK/tftp/boot.img"
  serve atftpd --daemon --no-fork --user nobody.nogroup "$WORK/tftp"
  await udp 69 && record
  client atftp -g -r boot.img -l /dev/null $S 69
  client atftp --option 'blksize 1024' --option 'tsize 0' -g -r boot.img -l /dev/null $S 69
  client atftp -p -l "$WORK/tftp/boot.img" -r new.img $S 69
  client curl -s tftp://$S/boot.img
  finish udp:69=tftp
}

scenario_smtp() {
  serve python3 -W ignore -c "
import smtpd, asyncore
smtpd.SMTPServer(('0.0.0.0', 25), None)
asyncore.loop()"
  await tcp 25 && record
  client swaks --server $S --to a@b.example --from c@d.example --hide-all
  client curl -s smtp://$S --mail-from c@d.example --mail-rcpt a@b.example -T /etc/hostname
  finish tcp:25=smtp
}

scenario_mail() {
  printf 'protocols = imap pop3\nlisten = 0.0.0.0\nssl = no\nbase_dir = %s\nlog_path = %s\n%s\n' \
    "$WORK/dove" "$WORK/dove.log" "passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=$WORK
}
disable_plaintext_auth = no" >"$WORK/dovecot.conf"
  serve dovecot -F -c "$WORK/dovecot.conf"
  await tcp 143 && record
  client curl -s -u app1:secret imap://$S/
  client curl -s -u app1:secret pop3://$S/
  typed 'a1 CAPABILITY\r\na2 LOGOUT\r\n' nc -q1 $S 143
  typed 'USER app1\r\nQUIT\r\n' nc -q1 $S 110
  finish tcp:143=imap tcp:110=pop3
}

scenario_irc() {
  printf '[Global]\nName = irc.example\nInfo = x\nAdminInfo1 = x\nAdminEMail = a@b.example\n%s\n' \
    '[Options]
Ident = no
DNS = no
PAM = no' >"$WORK/ngircd.conf"
  serve ngircd -n -f "$WORK/ngircd.conf"
  await tcp 6667 && record
  typed 'NICK app1\r\nUSER app1 0 * :App One\r\nJOIN #news\r\n' nc -q1 $S 6667
  typed 'CAP LS 302\r\nNICK other\r\nUSER other 0 * :x\r\n' nc -q1 $S 6667
  typed 'PASS secret\r\nNICK third\r\nUSER third 0 * :x\r\n' nc -q1 $S 6667
  finish tcp:6667=irc
}

scenario_smb() {
  mkdir -p "$WORK/smb"
  printf '[global]\nlock dir=%s\nstate directory=%s\ncache directory=%s\nprivate dir=%s\n%s\n' \
    "$WORK/smb" "$WORK/smb" "$WORK/smb" "$WORK/smb" "pid directory=$WORK/smb
ncalrpc dir=$WORK/smb/n
server min protocol=NT1
map to guest=bad user
[share]
path=/tmp
guest ok=yes" >"$WORK/smb.conf"
  serve smbd -F --no-process-group -s "$WORK/smb.conf" -l "$WORK/smb"
  await tcp 445 && record
  local protocol
  for protocol in NT1 SMB2 SMB3; do
    client smbclient -N -m $protocol -s /dev/null //$S/share -c ls
  done
  client smbclient -N -L //$S
  finish tcp:445=smb tcp:139=smb
}

scenario_git() {
  git init -q --bare "$WORK/git/a.git"
  serve git daemon --base-path="$WORK/git" --export-all --reuseaddr --enable=receive-pack
  await tcp 9418 && record
  client git ls-remote git://$S/a.git
  client git -c protocol.version=0 ls-remote git://$S/a.git
  client git clone -q git://$S/a.git "$WORK/clone"
  finish tcp:9418=git
}

scenario_svn() {
  svnadmin create "$WORK/svn"
  serve svnserve -d --foreground -r "$WORK" --listen-host 0.0.0.0
  await tcp 3690 && record
  client svn ls --non-interactive svn://$S/svn
  client svn info --non-interactive svn://$S/none
  finish tcp:3690=svn
}

scenario_rsync() {
  printf '[share]\npath = /etc/apt\nuse chroot = no\n' >"$WORK/rsyncd.conf"
  serve rsync --daemon --no-detach --config="$WORK/rsyncd.conf" --port=873
  await tcp 873 && record
  client rsync rsync://$S/
  client rsync -r rsync://$S/share/ "$WORK/copy/"
  finish tcp:873=rsync
}

scenario_nbd() {
  truncate -s 4M "$WORK/disk"
  serve nbdkit -f -p 10809 file "$WORK/disk"
  serve qemu-nbd -t -e 9 -p 10810 -f raw -x disk "$WORK/disk"
  await tcp 10809 && await tcp 10810 && record
  client nbdinfo nbd://$S:10809
  client nbdinfo --list nbd://$S:10810
  client qemu-img info nbd://$S:10809
  finish tcp:10809=nbd tcp:10810=nbd
}

# The target: none of Debian's runs without the kernel here, so the initiators' login requests only.
scenario_iscsi() {
  listener 3260 && record
  client iscsi-ls -i iqn.2026-01.example:app1 iscsi://$S
  client iscsi-inq -i iqn.2026-01.example:app1 iscsi://$S/iqn.2026-01.example:disk/1
  client qemu-img info iscsi://$S/iqn.2026-01.example:disk/1
  finish tcp:3260=iscsi
}

scenario_9p() {
  mkdir -p "$WORK/9p"
  serve diod -f -n -l 0.0.0.0:564 -e "$WORK/9p" -L stderr
  await tcp 564 && record
  client diodls -s $S -p 564 -a "$WORK/9p"
  client diodcat -s $S -p 564 -a "$WORK/9p" none
  python_client 564 "bytes.fromhex('1500000064ffff000001000800') + b'9P2000.L'"
  finish tcp:564=9p
}

scenario_gluster() {
  serve glusterd -N -l "$WORK/glusterd.log" -p "$WORK/glusterd.pid" --volfile-max-fetch-attempts=1
  await tcp 24007 && record
  client gluster --remote-host=$S peer status
  SECONDS_MAX=4 client glusterfs -N -s $S --volfile-id=share -l "$WORK/gl.log" "$WORK"
  finish tcp:24007=gluster
}

scenario_socks() {
  serve microsocks -i 0.0.0.0 -p 1080
  await tcp 1080 && record
  client curl -s --socks5 $S:1080 http://$C:9/
  client curl -s --socks5-hostname $S:1080 -U app1:secret http://a.example/
  client curl -s --socks4 $S:1080 http://$C:9/
  client curl -s --socks4a $S:1080 http://a.example/
  finish tcp:1080=socks
}

scenario_zabbix() {
  printf 'Server=0.0.0.0/0\nListenIP=0.0.0.0\nHostname=app1\nLogType=console\nPidFile=%s\n' \
    /tmp/abscap-zabbix.pid >"$WORK/zabbix.conf"
  serve runuser -u zabbix -- zabbix_agentd -f -c "$WORK/zabbix.conf"
  listener 10051
  await tcp 10050 && record
  typed 'agent.ping\n' nc -q1 $S 10050
  python_client 10050 "b'ZBXD\x01\x0a\0\0\0\0\0\0\0agent.ping'"
  python_client 10051 "b'ZBXD\x01\x22\0\0\0\0\0\0\0' + b'{\"request\":\"active checks\",\"host\":1}'"
  finish tcp:10050=zabbix tcp:10051=zabbix
}

scenario_munin() {
  printf 'host 0.0.0.0\nport 4949\nsetsid 0\nbackground 0\nallow ^.*$\nlog_file %s\npid_file %s\n' \
    "$WORK/munin.log" "$WORK/munin.pid" >"$WORK/munin.conf"
  serve munin-node --config "$WORK/munin.conf"
  await tcp 4949 && record
  typed 'list\nquit\n' nc -q1 $S 4949
  typed 'cap multigraph\nnodes\nquit\n' nc -q1 $S 4949
  finish tcp:4949=munin
}

scenario_syslog() {
  printf '%s\n' 'module(load="imudp")' 'input(type="imudp" port="514")' 'module(load="imtcp")' \
    'input(type="imtcp" port="514")' "*.* $WORK/all.log" >"$WORK/rsyslog.conf"
  serve rsyslogd -n -f "$WORK/rsyslog.conf" -i "$WORK/rsyslog.pid"
  await tcp 514 && record
  client logger -d -n $S -P 514 hello
  client logger -d -n $S --rfc3164 hello
  client logger -T -n $S -P 514 hello
  client logger -T -n $S --octet-count -P 514 hello
  client logger -T -n $S --rfc3164 -p mail.err hello
  client python3 -c "
import logging, logging.handlers
logging.getLogger().addHandler(logging.handlers.SysLogHandler(('$S', 514)))
logging.error('hello')"
  finish udp:514=syslog tcp:514=syslog
}

scenario_coap() {
  serve coap-server-notls -A $S
  await udp 5683 && record
  client coap-client-notls -B 2 coap://$S/.well-known/core
  client coap-client-notls -N -B 2 coap://$S/time
  client coap-client-notls -m put -e 1 -B 2 coap://$S/example_data
  client coap-client-notls -B 2 coap+tcp://$S/time
  finish udp:5683=coap tcp:5683=coap
}

scenario_modbus() {
  listener 502 && record
  local type
  for type in 0 1 3 4; do client mbpoll -1 -m tcp -t $type -a 7 -r 1 -c 3 -o 0.5 $S; done
  client mbpoll -m tcp -a 1 -r 1 -o 0.5 $S 17 18
  finish tcp:502=modbus
}

scenario_opcua() { silent_listener 4840 opcua opcua; }

scenario_vnc() {
  serve Xtigervnc :7 -rfbport 5900 -SecurityTypes None -localhost=0 -UseIPv6=0
  await tcp 5900 && record
  typed 'RFB 003.008\n\x01' nc -q1 $S 5900
  typed 'RFB 003.003\n' nc -q1 $S 5900
  finish tcp:5900=vnc
}

scenario_x11() {
  serve Xtigervnc :8 -rfbport 5908 -SecurityTypes None -listen tcp -ac
  await tcp 6008 && record
  client python3 -c "
import socket
s = socket.create_connection(('$S', 6008))
s.sendall(b'l\0\x0b\0\0\0\0\0\0\0\0\0'); s.recv(99)"
  client env DISPLAY=$S:8 vncconfig -list
  finish tcp:6008=x11
}

scenario_fastcgi() {
  printf '[global]\ndaemonize=no\nerror_log=/dev/stderr\n[www]\nuser=nobody\ngroup=nogroup\n%s\n' \
    'listen=0.0.0.0:9000
pm=static
pm.max_children=1' >"$WORK/fpm.conf"
  serve php-fpm8.2 -F -y "$WORK/fpm.conf"
  await tcp 9000 && record
  client env SCRIPT_FILENAME=/none.php REQUEST_METHOD=GET cgi-fcgi -bind -connect $S:9000
  client env SCRIPT_FILENAME=/none.php REQUEST_METHOD=POST CONTENT_LENGTH=0 \
    cgi-fcgi -bind -connect $S:9000
  finish tcp:9000=fastcgi
}

scenario_sip() {
  serve sipp -sn uas -i $S -p 5060 -nostdin
  serve sipp -sn uas -i $S -p 5062 -t t1 -nostdin
  await udp 5060 && await tcp 5062 && record
  client sipp -sn uac -i $C -m 1 -nostdin $S:5060
  client sipp -sn uac -t t1 -i $C -m 1 -nostdin $S:5062
  finish udp:5060=sip tcp:5062=sip
}

# telnetd expects its socket as inetd hands it over: standard input and output.
scenario_telnet() {
  serve python3 -c "
import os, socket, subprocess
door = socket.create_server(('0.0.0.0', 23))
while True:
    line, _ = door.accept()
    subprocess.Popen(['/usr/sbin/telnetd'], stdin=line, stdout=line, stderr=line)
    line.close()"
  await tcp 23 && record
  typed '' telnet $S 23
  typed '' curl -s telnet://$S
  finish tcp:23=telnet
}

scenario_quic() {
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$WORK/key.pem" -out "$WORK/cert.pem" -days 9 \
    -subj /CN=app1.example 2>/dev/null
  serve gtlsserver --no-quic-dump -q '*' 443 "$WORK/key.pem" "$WORK/cert.pem"
  await udp 443 && record
  SECONDS_MAX=2 client gtlsclient -q $S 443 https://app1.example/
  SECONDS_MAX=2 client gtlsclient -q -v 0x6b3343cf $S 443 https://app1.example/
  finish udp:443=quic
}
