/**
 * Real clients from npm for scripts/make-captures.sh. They are not the project's dependencies: the
 * first argument is the folder that has them. `listen PORT` is the other side where Debian has no
 * server: it accepts, reads and never answers, so only a client's first payload is in the capture.
 *
 *   npm-clients.ts FOLDER listen PORT
 *   npm-clients.ts FOLDER CLIENT ADDRESS
 */

import { createRequire } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";

const [folder = "", name = "", target = ""] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const TIMEOUT_MS = 3000;

/** Each opens connections of one kind. Failing is what a silent listener makes them do. */
const clients: Readonly<Record<string, () => unknown>> = {
  mongodb: () => {
    const { MongoClient } = require("mongodb");
    return new MongoClient(`mongodb://${target}:27017/?serverSelectionTimeoutMS=2500`).connect();
  },
  cassandra: () => cassandra(undefined),
  "cassandra-v4": () => cassandra(4),
  neo4j: () => {
    const neo4j = require("neo4j-driver");
    const driver = neo4j.driver(`bolt://${target}:7687`, neo4j.auth.basic("app1", "secret"));
    return driver.session().run("RETURN 1");
  },
  tds: () => tds(true),
  "tds-tsql": () => tds(false),
  oracle: () => {
    const oracle = require("oracledb");
    const connectString = `${target}:1521/SHOP`;
    return oracle.getConnection({ user: "app1", password: "secret", connectString });
  },
  kafka: () => kafka("app1", false),
  "kafka-tls": () => kafka("app1", true),
  "clickhouse-http": () => {
    const { createClient } = require("@clickhouse/client");
    return createClient({ url: `http://${target}:8123` }).query({ query: "SELECT 1" });
  },
  mysql2: () => {
    const options = { host: target, user: "app1", password: "secret", database: "shop" };
    return require("mysql2/promise").createConnection(options);
  },
  pg: () => {
    const { Client } = require("pg");
    const options = { host: target, user: "postgres", application_name: "app1" };
    return new Client(options).connect();
  },
  nats: () => require("nats").connect({ servers: `${target}:4222`, name: "app1" }),
  amqp: () => require("amqplib").connect(`amqp://guest:guest@${target}`),
  "amqp-1.0": () =>
    require("rhea").connect({ host: target, port: 5672, username: "guest", password: "guest" }),
  "amqp-1.0-anonymous": () => require("rhea").connect({ host: target, port: 5672 }),
  mqtt5: () => {
    const options = { protocolVersion: 5, clientId: "app1" };
    return require("mqtt").connect(`mqtt://${target}`, options);
  },
  "mqtt-websocket": () => require("mqtt").connect(`ws://${target}:9001`),
  stomp: () => {
    const connectHeaders = { host: "/", login: "guest", passcode: "guest" };
    return require("stompit").connect({ host: target, port: 61613, connectHeaders }, () => {});
  },
  "thrift-framed": () => thrift("TFramedTransport", "TBinaryProtocol"),
  "thrift-buffered": () => thrift("TBufferedTransport", "TBinaryProtocol"),
  "thrift-compact": () => thrift("TFramedTransport", "TCompactProtocol"),
  opcua: () => {
    const { OPCUAClient } = require("node-opcua-client");
    const connectionStrategy = { maxRetry: 0 };
    const options = { endpointMustExist: false, connectionStrategy };
    return OPCUAClient.create(options).connect(`opc.tcp://${target}:4840`);
  },
};

function cassandra(maxVersion: number | undefined): unknown {
  const { Client } = require("cassandra-driver");
  const protocolOptions = maxVersion === undefined ? {} : { maxVersion };
  const options = { contactPoints: [target], localDataCenter: "dc1", protocolOptions };
  return new Client(options).connect();
}

function tds(encrypt: boolean): unknown {
  const { Connection } = require("tedious");
  const login = { type: "default", options: { userName: "app1", password: "secret" } };
  const connection = new Connection({
    server: target,
    authentication: login,
    options: { encrypt, trustServerCertificate: true, connectTimeout: 2500, appName: "app1" },
  });
  return connection.connect();
}

function kafka(clientId: string, ssl: boolean): unknown {
  const { Kafka, logLevel } = require("kafkajs");
  const options = { clientId, brokers: [`${target}:9092`], ssl, logLevel: logLevel.NOTHING };
  return new Kafka({ ...options, retry: { retries: 0 } }).producer().connect();
}

/** The method is called through the library's own writer: a service's stub does no more. */
function thrift(transportName: string, protocolName: string): unknown {
  const library = require("thrift");
  const options = { transport: library[transportName], protocol: library[protocolName] };
  const connection = library.createConnection(target, 9090, options);
  return connection.on("connect", () => {
    const transport = new options.transport(undefined, (bytes: Buffer) => connection.write(bytes));
    const output = new options.protocol(transport);
    output.writeMessageBegin("getOrder", library.Thrift.MessageType.CALL, 0);
    output.writeStructBegin("getOrder_args");
    output.writeFieldBegin("id", library.Thrift.Type.I32, 1);
    output.writeI32(7);
    output.writeFieldEnd();
    output.writeFieldStop();
    output.writeStructEnd();
    output.writeMessageEnd();
    output.flush();
  });
}

if (name === "listen") {
  createServer((socket) => socket.on("data", () => {}).on("error", () => {})).listen(
    Number(target),
    "0.0.0.0",
  );
} else {
  const open = clients[name];
  if (open === undefined) throw new Error(`no such client: ${name}`);
  process.on("uncaughtException", () => {});
  process.on("unhandledRejection", () => {});
  await Promise.race([Promise.resolve().then(open), Bun.sleep(TIMEOUT_MS)]).catch(() => {});
  await Bun.sleep(500);
  process.exit(0);
}
