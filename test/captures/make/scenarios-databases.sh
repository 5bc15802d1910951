#!/usr/bin/env bash
# Databases and caches. Sourced by scripts/make-captures.sh.

scenario_redis() {
  printf 'user app1 on >secret ~* +@all\nuser other on >secret ~* +@all\nuser default on nopass ~* +@all\n' \
    >"$WORK/users.acl"
  serve redis-server --bind 0.0.0.0 --protected-mode no --save '' --dir "$WORK" \
    --aclfile "$WORK/users.acl"
  await tcp 6379 && record
  client redis-cli -h $S ping
  client redis-cli -h $S -3 get key
  client redis-cli -h $S --user app1 --pass secret set key value
  client redis-cli -h $S --user other --pass secret get key
  client redis-cli -h $S -a nothing get key
  client redis-cli -h $S client setname app1
  client redis-cli -h $S -n 3 incr counter
  typed 'PING\r\n' nc -q1 $S 6379
  typed 'set k 1\r\nget k\r\n' nc -q1 $S 6379
  typed '*1\r\n$4\r\nPING\r\n' nc -q1 $S 6379
  client redis-cli -h $S subscribe news
  client python3 -c "
import socket
s = socket.create_connection(('$S', 6379))
s.send(b'*5\r\n\$5\r\nHELLO\r\n\$1\r\n3\r\n\$4\r\nAUTH\r\n\$4\r\napp1\r\n\$6\r\nsecret\r\n')
s.recv(999)"
  finish tcp:6379=redis
}

scenario_memcached() {
  serve memcached -u nobody -l 0.0.0.0 -U 11211
  await tcp 11211 && record
  printf 'value' >"$WORK/item"
  client memccp --servers=$S:11211 "$WORK/item"
  client memccat --servers=$S:11211 item
  client memccp --binary --servers=$S:11211 "$WORK/item"
  client memccat --binary --servers=$S:11211 item
  client memcstat --servers=$S:11211
  typed 'set k 0 60 5\r\nhello\r\nget k\r\n' nc -q1 $S 11211
  typed 'gets k other\r\n' nc -q1 $S 11211
  typed 'mg k v t f\r\n' nc -q1 $S 11211
  typed 'ms k 2 T60\r\nhi\r\n' nc -q1 $S 11211
  typed 'version\r\n' nc -q1 $S 11211
  typed 'stats items\r\n' nc -q1 $S 11211
  typed 'incr counter 1\r\n' nc -q1 $S 11211
  typed '\x00\x01\x00\x00\x00\x01\x00\x00get k\r\n' nc -u -q1 $S 11211
  FLOWS_A_PORT_MAX=16 finish tcp:11211=memcached udp:11211=memcached
}

mariadb_up() {
  mkdir -p "$WORK/mysql" && chown mysql "$WORK/mysql"
  mariadb-install-db --user=mysql --datadir="$WORK/mysql" --auth-root-authentication-method=normal \
    >"$WORK/mysql-install.log" 2>&1
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$WORK/key.pem" -out "$WORK/cert.pem" -days 9 \
    -subj /CN=db.example 2>/dev/null
  chmod 644 "$WORK/key.pem"
  serve mariadbd --no-defaults --user=mysql --datadir="$WORK/mysql" --bind-address=0.0.0.0 \
    --socket="$WORK/mysql/s" --skip-name-resolve --ssl-cert="$WORK/cert.pem" \
    --ssl-key="$WORK/key.pem"
  await tcp 3306 60 || return 1
  mariadb -uroot -S "$WORK/mysql/s" -e "create database shop;
    create user app1@'%' identified by 'secret'; grant all on *.* to app1@'%';
    create user other@'%' identified by 'secret'; grant all on *.* to other@'%';"
}

scenario_mysql() {
  mariadb_up && record
  client mariadb -h $S -uapp1 -psecret --skip-ssl -e 'select 1' shop
  client mariadb -h $S -uapp1 -psecret --skip-ssl -e 'select 2'
  client mariadb -h $S -uother -psecret --skip-ssl -e 'select 1' shop
  client mariadb -h $S -uapp12 -pwrong --skip-ssl -e 'select 1'
  client mariadb -h $S -uother -psecret --ssl -e 'select 1'
  client mariadb -h $S -uapp1 -psecret --skip-ssl -C -e 'select 1'
  client mariadb-dump -h $S -uapp1 -psecret --skip-ssl shop
  client "$BUN" "$ROOT/test/captures/make/npm-clients.ts" "$NPM_FOLDER" mysql2 $S
  typed '' nc -q1 $S 3306
  finish tcp:3306=mysql
}

# psql negotiates GSSAPI encryption only with a Kerberos ticket at hand: the request is sent by hand.
scenario_postgresql() {
  local bin data=$WORK/pg
  bin=$(echo /usr/lib/postgresql/*/bin)
  mkdir -p "$data" && chown postgres "$data"
  runuser -u postgres -- "$bin/initdb" -D "$data" -A trust >"$WORK/initdb.log" 2>&1
  echo 'host all all 0.0.0.0/0 trust' >>"$data/pg_hba.conf"
  serve runuser -u postgres -- "$bin/postgres" -D "$data" -h 0.0.0.0 -k "$data"
  await tcp 5432 && record
  local base="host=$S user=postgres dbname=postgres"
  client psql "$base sslmode=disable application_name=app1" -c 'select 1'
  client psql "$base sslmode=disable application_name=other" -c 'select 1'
  client psql "$base sslmode=disable" -c 'select 1'
  client psql "$base sslmode=prefer" -c 'select 1'
  client pg_isready -h $S
  client pg_dump "$base sslmode=disable"
  client psql "$base sslmode=disable replication=database" -c IDENTIFY_SYSTEM
  typed '\x00\x00\x00\x08\x04\xd2\x16\x30' nc -q1 $S 5432
  typed '\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x2a\x00\x00\x00\x07' nc -q1 $S 5432
  client "$BUN" "$ROOT/test/captures/make/npm-clients.ts" "$NPM_FOLDER" pg $S
  finish tcp:5432=postgresql
}

# Databases that Debian has no server of: the client's first payload to a listener that only reads.
scenario_mongodb() { silent_listener 27017 mongodb mongodb; }
scenario_cassandra() { silent_listener 9042 cassandra cassandra cassandra-v4; }
scenario_neo4j() { silent_listener 7687 neo4j neo4j; }
scenario_tds() { silent_listener 1433 tds tds tds-tsql; }
scenario_oracle() { silent_listener 1521 oracle oracle; }
scenario_clickhouse_http() { silent_listener 8123 http clickhouse-http; }

# silent_listener PORT APP CLIENT… - each client of npm-clients.ts against a listener that only reads.
silent_listener() {
  local port=$1 app=$2 one
  shift 2
  serve "$BUN" "$ROOT/test/captures/make/npm-clients.ts" "$NPM_FOLDER" listen "$port"
  await tcp "$port" && record
  for one in "$@"; do npm_client "$one"; done
  FLOWS_A_PORT_MAX=4 finish "tcp:$port=$app"
}
