#!/usr/bin/env bash
# Names, directories, time, management, routing and tunnels. Sourced by scripts/make-captures.sh.

scenario_dns() {
  printf 'server:\n interface: 0.0.0.0\n access-control: 0.0.0.0/0 allow\n chroot: ""\n %s\n %s\n' \
    'username: ""' 'local-data: "a.example. A 10.1.1.1"' >"$WORK/unbound.conf"
  serve unbound -d -p -c "$WORK/unbound.conf"
  await udp 53 && record
  local how
  for how in '' +noedns +tcp +dnssec +cookie '+opcode=status' '+opcode=notify' +nocookie+tcp; do
    client dig +time=1 +tries=1 @$S a.example A ${how//+/ +}
  done
  client dig +time=1 +tries=1 @$S -x 10.1.1.1
  client dig +time=1 +tries=1 @$S _ldap._tcp.a.example SRV
  printf 'server %s\nzone example\nupdate add b.example 60 A 10.1.1.2\nsend\n' $S >"$WORK/update"
  client nsupdate -t 1 -r 0 "$WORK/update"
  client host -W1 a.example $S
  client nslookup -timeout=1 -retry=0 a.example $S
  finish udp:53=dns tcp:53=dns
}

scenario_snmp() {
  printf 'rocommunity public\nagentAddress udp:0.0.0.0:161,tcp:0.0.0.0:161\n' >"$WORK/snmpd.conf"
  serve snmpd -f -Lo -C -c "$WORK/snmpd.conf" -p "$WORK/snmpd.pid"
  await udp 161 && record
  client snmpget -v1 -c public $S 1.3.6.1.2.1.1.1.0
  client snmpget -v2c -c public $S 1.3.6.1.2.1.1.1.0
  client snmpbulkget -v2c -c a-rather-long-community $S -t 1 -r 0 1.3.6.1.2.1.1
  client snmpget -v3 -t 1 -r 0 -u app1 -l noAuthNoPriv $S 1.3.6.1.2.1.1.1.0
  client snmpgetnext -v2c -c public tcp:$S:161 1.3.6.1.2.1.1
  finish udp:161=snmp tcp:161=snmp
}

scenario_snmptrap() {
  printf 'disableAuthorization yes\n' >"$WORK/trap.conf"
  serve snmptrapd -f -Lo -C -c "$WORK/trap.conf" -p "$WORK/trap.pid" udp:0.0.0.0:162
  await udp 162 && record
  client snmptrap -v1 -c public $S 1.3.6.1.4.1.8072 "" 0 0 ""
  client snmptrap -v2c -c public $S "" 1.3.6.1.6.3.1.1.5.1
  client snmpinform -v2c -c public $S "" 1.3.6.1.6.3.1.1.5.1
  finish udp:162=snmp
}

scenario_ldap() {
  mkdir -p "$WORK/ldap"
  printf 'include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n%s\n' \
    "database mdb
suffix dc=example
rootdn cn=admin,dc=example
rootpw secret
directory $WORK/ldap" >"$WORK/slapd.conf"
  serve slapd -f "$WORK/slapd.conf" -h "ldap://0.0.0.0:389/" -d 0
  await tcp 389 && record
  client ldapsearch -x -H ldap://$S -b dc=example
  client ldapsearch -x -P 2 -H ldap://$S -b dc=example
  client ldapsearch -x -H ldap://$S -D cn=admin,dc=example -w secret -b dc=example
  client ldapsearch -x -ZZ -H ldap://$S -b dc=example
  client ldapsearch -Y DIGEST-MD5 -U app1 -w secret -H ldap://$S -b dc=example
  client ldapwhoami -x -H ldap://$S
  client curl -s ldap://$S/dc=example
  finish tcp:389=ldap
}

scenario_kerberos() {
  printf '[libdefaults]\n default_realm = EXAMPLE\n dns_lookup_kdc = false\n%s\n' \
    "[realms]
 EXAMPLE = {
  kdc = $S
 }" >"$WORK/krb5.conf"
  printf '[kdcdefaults]\n kdc_listen = 88\n kdc_tcp_listen = 88\n[realms]\n EXAMPLE = {\n%s\n }\n' \
    "database_name = $WORK/principal
 key_stash_file = $WORK/stash
 acl_file = $WORK/acl" >"$WORK/kdc.conf"
  export KRB5_CONFIG=$WORK/krb5.conf KRB5_KDC_PROFILE=$WORK/kdc.conf KRB5CCNAME=$WORK/cc
  { kdb5_util create -s -P secret -r EXAMPLE
    kadmin.local -q 'addprinc -pw secret app1'
    kadmin.local -q 'addprinc +requires_preauth -pw secret other'
    kadmin.local -q 'addprinc -randkey host/db'; } >"$WORK/kdb.log" 2>&1
  serve krb5kdc -n -r EXAMPLE -P "$WORK/kdc.pid"
  await udp 88 && record
  typed 'secret\n' kinit app1
  client kvno host/db
  typed 'secret\n' kinit other
  printf '[libdefaults]\n default_realm = EXAMPLE\n udp_preference_limit = 1\n%s\n' \
    "[realms]
 EXAMPLE = {
  kdc = $S
 }" >"$WORK/krb5.conf"
  typed 'secret\n' kinit app1
  client kvno host/db
  finish udp:88=kerberos tcp:88=kerberos
}

scenario_radius() {
  local conf=$WORK/raddb
  cp -rL /etc/freeradius/3.0 "$conf"
  printf 'client any {\n ipaddr = 0.0.0.0/0\n secret = testing123\n}\n' >>"$conf/clients.conf"
  sed -i '1i app1 Cleartext-Password := "secret"' "$conf/mods-config/files/authorize"
  rm -f "$conf"/mods-enabled/eap "$conf"/sites-enabled/inner-tunnel
  sed -i 's/^\(\s*\)eap\b/\1#eap/' "$conf/sites-enabled/default"
  chown -R freerad "$conf"
  serve freeradius -f -d "$conf" -l "$WORK/radius.log"
  await udp 1812 || echo "radius: no server, requests only" >&2
  record
  client radtest app1 secret $S 0 testing123
  client radtest -t chap app1 secret $S 0 testing123
  client radtest -t mschap app1 secret $S 0 testing123
  printf 'Acct-Status-Type=Start,User-Name=app1,Acct-Session-Id=7' >"$WORK/accounting"
  client radclient -r1 -t1 -f "$WORK/accounting" $S:1813 acct testing123
  printf 'Message-Authenticator=0x00' >"$WORK/status"
  client radclient -r1 -t1 -f "$WORK/status" $S:1812 status testing123
  finish udp:1812=radius udp:1813=radius
}

scenario_bgp() {
  local n=1 address
  for address in $S $C; do
    printf 'router id %s;\nprotocol device {}\nprotocol bfd { interface "*"; }\n%s\n' $address \
      "protocol bgp { local $address as 6500$n; connect delay time 1;
        neighbor $([ $n = 1 ] && echo $C || echo $S) as 6500$((3 - n));
        bfd on; ipv4 { import all; export all; }; $([ $n = 1 ] && echo 'passive on;') }" >"$WORK/bird$n.conf"
    n=$((n + 1))
  done
  record
  serve bird -f -c "$WORK/bird1.conf" -s "$WORK/b1" -P "$WORK/b1.pid"
  await tcp 179
  SECONDS_MAX=8 client bird -f -c "$WORK/bird2.conf" -s "$WORK/b2" -P "$WORK/b2.pid"
  finish tcp:179=bgp udp:3784=bfd
}

scenario_openflow() {
  serve ovs-testcontroller --unixctl="$WORK/oc.ctl" ptcp:6653:0.0.0.0
  await tcp 6653 && record
  mkdir -p "$WORK/ovs"
  local version
  for version in OpenFlow10 OpenFlow13 OpenFlow15; do
    SECONDS_MAX=3 client ovs-ofctl -O $version -t 2 show tcp:$S:6653
  done
  finish tcp:6653=openflow
}

# ovsdb-server also speaks JSON-RPC over TCP.
scenario_jsonrpc() {
  ovsdb-tool create "$WORK/ovs.db" /usr/share/openvswitch/vswitch.ovsschema
  serve ovsdb-server --remote=ptcp:6640:0.0.0.0 --unixctl="$WORK/ovs.ctl" "$WORK/ovs.db"
  await tcp 6640 && record
  client ovsdb-client list-dbs tcp:$S:6640
  client ovsdb-client dump tcp:$S:6640 Open_vSwitch
  SECONDS_MAX=2 client ovsdb-client monitor tcp:$S:6640 Open_vSwitch Bridge
  finish tcp:6640=jsonrpc
}

scenario_stun() {
  serve turnserver -n -L $S -p 3478 -a -u app1:secret -r example --no-tls --no-dtls -l stdout \
    --pidfile "$WORK/turn.pid" --no-cli
  await udp 3478 && record
  client turnutils_stunclient $S
  SECONDS_MAX=4 client turnutils_uclient -u app1 -w secret -n 1 -m 1 -y $S
  SECONDS_MAX=4 client turnutils_uclient -t -u app1 -w secret -n 1 -m 1 -y $S
  finish udp:3478=stun tcp:3478=stun
}

# openvpn_pair PROTOCOL OPTION… - client and server; a handshake begins, no tunnel device is made.
scenario_openvpn() {
  local n=0 options port rules=()
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$WORK/key.pem" -out "$WORK/cert.pem" -days 9 \
    -subj /CN=vpn 2>/dev/null
  openvpn --genkey secret "$WORK/ta.key"
  local ca="--ca $WORK/cert.pem --cert $WORK/cert.pem --key $WORK/key.pem --dev null --ifconfig-noexec"
  record
  for options in '--proto udp' '--proto udp --tls-auth T' '--proto udp --tls-crypt T' \
    '--proto tcp' '--proto tcp --tls-auth T'; do
    options=${options// T/ $WORK/ta.key}
    port=$((1194 + n++))
    serve openvpn ${options/tcp/tcp-server} --port $port $ca --tls-server --dh none
    await "${options:8:3}" $port
    SECONDS_MAX=3 client openvpn ${options/tcp/tcp-client} --remote $S $port --nobind $ca --tls-client
    rules+=("${options:8:3}:$port=openvpn")
  done
  finish "${rules[@]}"
}

scenario_ike() {
  serve "$BUN" -e "Bun.udpSocket({ port: 500, hostname: '0.0.0.0' })"
  await udp 500 && record
  client ike-scan --retry=1 --timeout=300 --sport=0 $S
  client ike-scan --retry=1 --timeout=300 --sport=0 --aggressive --id=app1 $S
  client ike-scan --retry=1 --timeout=300 --sport=0 --ikev2 $S
  finish udp:500=ike
}

scenario_l2tp() {
  printf '[global]\nport = 1701\n[lac x]\nlns = %s\nautodial = yes\nredial = no\n' $S >"$WORK/lac.conf"
  printf '[global]\nport = 1701\n[lns default]\nip range = 10.9.9.2-10.9.9.9\nlocal ip = 10.9.9.1\n' \
    >"$WORK/lns.conf"
  serve xl2tpd -D -c "$WORK/lns.conf" -p "$WORK/lns.pid" -C "$WORK/lns.ctl"
  await udp 1701 && record
  SECONDS_MAX=4 client xl2tpd -D -c "$WORK/lac.conf" -p "$WORK/lac.pid" -C "$WORK/lac.ctl"
  finish udp:1701=l2tp
}

scenario_dhcp() {
  serve dnsmasq -d -p 0 -C /dev/null --dhcp-range=10.77.0.50,10.77.0.60 --dhcp-leasefile="$WORK/dl"
  await udp 67 && record
  SECONDS_MAX=5 client udhcpc -i abscap1 -n -q -f -s /bin/true
  SECONDS_MAX=5 client dhclient -d -1 -sf /bin/true -lf "$WORK/lease" -pf "$WORK/dh.pid" abscap1
  finish udp:67=dhcp
}

scenario_ntp() {
  printf 'disable auth\nrestrict default\nserver 127.127.1.0\n' >"$WORK/ntp.conf"
  serve chronyd -d -x -u root -f "$WORK/chrony.conf"
  serve "$BUN" -e "Bun.udpSocket({ port: 123, hostname: '0.0.0.0' })"
  await udp 123 && record
  client ntpdig -t 1 -s $S
  client ntpdig -t 1 $S
  client ntpq -c rv $S
  client ntpq -c peers $S
  finish udp:123=ntp
}

scenario_rpc() {
  serve rpcbind -f
  await tcp 111 && record
  client rpcinfo -p $S
  client rpcinfo -s $S
  client rpcinfo -T udp $S 100000 2
  client rpcinfo -T tcp $S 100000 4
  client showmount -e $S
  finish tcp:111=sunrpc udp:111=sunrpc
}

scenario_tls() {
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$WORK/key.pem" -out "$WORK/cert.pem" -days 9 \
    -subj /CN=app1.example 2>/dev/null
  serve openssl s_server -accept 443 -key "$WORK/key.pem" -cert "$WORK/cert.pem" -www \
    -cipher ALL:@SECLEVEL=0 -alpn h2,http/1.1
  serve openssl s_server -dtls -accept 4433 -key "$WORK/key.pem" -cert "$WORK/cert.pem"
  await tcp 443 && record
  local how
  for how in '-servername app1.example' '-servername other.example' -noservername \
    '-servername app1.example -tls1_3' '-servername app1.example -tls1_2' \
    '-tls1_1 -cipher ALL:@SECLEVEL=0' '-tls1 -cipher ALL:@SECLEVEL=0' \
    '-servername app1.example -alpn h2,http/1.1'; do
    client openssl s_client -connect $S:443 $how
  done
  client curl -sk --resolve app1.example:443:$S https://app1.example/
  client wget -qO- --no-check-certificate --timeout=2 https://$S/
  client openssl s_client -dtls1_2 -connect $S:4433
  client openssl s_client -dtls -mtu 1200 -connect $S:4433
  finish tcp:443=tls udp:4433=dtls
}

