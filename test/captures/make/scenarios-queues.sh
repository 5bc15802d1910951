#!/usr/bin/env bash
# Message queues, coordination and RPC. Sourced by scripts/make-captures.sh.

# npm_client NAME - one client of npm-clients.ts against the server.
npm_client() {
  client "$BUN" "$ROOT/test/captures/make/npm-clients.ts" "$NPM_FOLDER" "$1" $S
}

scenario_kafka() { silent_listener 9092 kafka kafka; }

# A second implementation beside kafkajs: librdkafka, by kcat.
scenario_kafka_kcat() {
  serve "$BUN" "$ROOT/test/captures/make/npm-clients.ts" "$NPM_FOLDER" listen 9092
  await tcp 9092 && record
  client kcat -b $S:9092 -L
  client kcat -b $S:9092 -X client.id=app1 -X broker.version.fallback=0.9.0 \
    -X api.version.request=false -L
  finish tcp:9092=kafka
}

# RabbitMQ speaks AMQP 0-9-1, and with its plugins 1.0, MQTT and STOMP.
scenario_amqp() {
  local home=$WORK/rabbit
  mkdir -p "$home" && chown rabbitmq "$home"
  echo '[rabbitmq_amqp1_0,rabbitmq_stomp,rabbitmq_mqtt].' >"$home/plugins"
  printf 'loopback_users = none\nmqtt.tcp_listen_options.backlog = 9\n' >"$home/rabbitmq.conf"
  chmod -R a+rX "$home"
  serve runuser -u rabbitmq -- env HOME="$home" RABBITMQ_NODENAME=abscap@localhost \
    RABBITMQ_MNESIA_BASE="$home" RABBITMQ_LOG_BASE="$home" RABBITMQ_DIST_PORT=25673 \
    RABBITMQ_ENABLED_PLUGINS_FILE="$home/plugins" RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" \
    ERL_EPMD_PORT=14369 /usr/lib/rabbitmq/bin/rabbitmq-server
  await tcp 5672 60 && await tcp 61613 && await tcp 1883 && record
  npm_client amqp
  npm_client amqp-1.0
  npm_client amqp-1.0-anonymous
  npm_client stomp
  client mosquitto_pub -h $S -u guest -P guest -t news -m hello
  typed 'AMQP\x00\x00\x09\x00' nc -q1 $S 5672
  typed 'CONNECT\naccept-version:1.0,1.1,1.2\nhost:/\n\n\x00' nc -q1 $S 61613
  typed 'STOMP\nlogin:guest\npasscode:guest\naccept-version:1.2\nhost:/\n\n\x00' nc -q1 $S 61613
  finish tcp:5672=amqp tcp:61613=stomp tcp:1883=mqtt
  # epmd has left the process group: it is asked to end once RabbitMQ has.
  ip netns exec $SERVER_NS env ERL_EPMD_PORT=14369 epmd -kill >/dev/null
  return 0
}

scenario_zookeeper() {
  mkdir -p "$WORK/zk"
  printf 'tickTime=2000\ndataDir=%s\nclientPort=2181\nadmin.enableServer=false\n%s\n' "$WORK/zk" \
    '4lw.commands.whitelist=*' >"$WORK/zoo.cfg"
  local classes='/etc/zookeeper/conf:/usr/share/java/*'
  serve java -cp "$classes" -Dzookeeper.log.dir="$WORK/zk" \
    org.apache.zookeeper.server.quorum.QuorumPeerMain "$WORK/zoo.cfg"
  await tcp 2181 60 && record
  SECONDS_MAX=15 client java -cp "$classes" org.apache.zookeeper.ZooKeeperMain -server $S ls /
  SECONDS_MAX=15 client java -cp "$classes" org.apache.zookeeper.ZooKeeperMain -server $S \
    -r ls /zookeeper
  local word
  for word in ruok stat srvr mntr conf; do typed "$word" nc -q1 $S 2181; done
  finish tcp:2181=zookeeper
}

scenario_nats() {
  serve nats-server -a 0.0.0.0 -p 4222
  await tcp 4222 && record
  npm_client nats
  typed 'CONNECT {"verbose":false,"name":"app1"}\r\nPING\r\n' nc -q1 $S 4222
  typed 'CONNECT {"verbose":true,"pedantic":true}\r\nSUB news 1\r\nPUB news 2\r\nhi\r\n' \
    nc -q1 $S 4222
  typed 'PING\r\n' nc -q1 $S 4222
  finish tcp:4222=nats
}

scenario_mqtt() {
  printf 'listener 1883 0.0.0.0\nlistener 9001 0.0.0.0\nprotocol websockets\nallow_anonymous true\n' \
    >"$WORK/mosquitto.conf"
  serve mosquitto -c "$WORK/mosquitto.conf"
  await tcp 1883 && record
  client mosquitto_pub -h $S -V mqttv31 -i app1 -t news -m hello
  client mosquitto_pub -h $S -V mqttv311 -i app1 -t news -m hello
  client mosquitto_pub -h $S -V mqttv5 -i app1 -t news -m hello -x 60
  client mosquitto_pub -h $S -t news -m hello -u app1 -P secret
  client mosquitto_pub -h $S -t news -m hello --will-topic gone --will-payload bye --will-qos 1
  SECONDS_MAX=2 client mosquitto_sub -h $S -t '#' -c -i app1-reader -k 10
  npm_client mqtt5
  npm_client mqtt-websocket
  finish tcp:1883=mqtt tcp:9001=http
}

scenario_etcd() {
  serve etcd --data-dir "$WORK/etcd" --listen-client-urls http://0.0.0.0:2379 \
    --advertise-client-urls http://$S:2379 --listen-peer-urls http://127.0.0.1:2380
  await tcp 2379 && record
  client env ETCDCTL_API=3 etcdctl --endpoints=http://$S:2379 put key value
  client env ETCDCTL_API=3 etcdctl --endpoints=http://$S:2379 get key
  client curl -s --http2-prior-knowledge http://$S:2379/version
  finish tcp:2379=http2
}

scenario_etcd_http() {
  serve etcd --data-dir "$WORK/etcd" --listen-client-urls http://0.0.0.0:2379 \
    --advertise-client-urls http://$S:2379 --listen-peer-urls http://127.0.0.1:2380 --enable-v2
  await tcp 2379 && record
  client env ETCDCTL_API=2 etcdctl --endpoints=http://$S:2379 set key value
  client curl -s http://$S:2379/health
  finish tcp:2379=http
}

scenario_beanstalkd() {
  serve beanstalkd -l 0.0.0.0 -p 11300
  await tcp 11300 && record
  typed 'put 0 0 60 5\r\nhello\r\n' nc -q1 $S 11300
  typed 'use mail\r\nput 10 0 60 2\r\nhi\r\n' nc -q1 $S 11300
  typed 'watch mail\r\nreserve-with-timeout 1\r\n' nc -q1 $S 11300
  typed 'stats\r\n' nc -q1 $S 11300
  finish tcp:11300=beanstalkd
}

scenario_gearman() {
  serve gearmand -u gearman -L 0.0.0.0 -p 4730 -l "$WORK/gearmand.log"
  await tcp 4730 && record
  SECONDS_MAX=2 client gearman -h $S -p 4730 -w -f reverse -- cat
  client gearman -h $S -p 4730 -b -f reverse hello
  client gearadmin -h $S -p 4730 --status
  finish tcp:4730=gearman
}

scenario_thrift() { silent_listener 9090 thrift thrift-framed thrift-compact thrift-buffered; }
