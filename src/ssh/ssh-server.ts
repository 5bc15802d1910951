/**
 * The SSH server of the manager channel (paper §3.6: "a passwordless ssh connection"), on npm ssh2.
 * docs/manager-channel.md. Who has which key, and what is done on a channel, is the role's: it
 * hands in the mapping service and handlers. A key opens the subsystem `abs`, or executes words
 * that are parsed here and never reach a shell; terminals, shells, environments and forwarding are
 * refused. ssh-connection.ts looks after one connection.
 */
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { type Connection, Server } from "ssh2";
import { AbsError, messageOf } from "../errors.ts";
import { AttemptCounts } from "./attempt-counts.ts";
import { SshConnection } from "./ssh-connection.ts";
import { privateKeyText } from "./ssh-keys.ts";
import type { SshHandlers, SshLogin } from "./ssh-login.ts";
import { ALGORITHMS, SSH_LIMITS, type SshLimits } from "./ssh-settings.ts";
import { placeOf, Strangers } from "./strangers.ts";

export type SshHostKey = {
  readonly seed: Uint8Array;
  /** A line that is said before SSH begins. */
  readonly statement: string;
};

export type SshServerOptions<P> = {
  readonly hostKey: SshHostKey;
  readonly host: string;
  /** 0: the system chooses. */
  readonly port: number;
  readonly handlers: SshHandlers<P>;
  readonly limits?: Partial<SshLimits>;
};

export type SshCounts = { readonly strangers: number; readonly loggedIn: number };

export class SshServer<P> {
  readonly #listener: NetServer;
  readonly #limits: SshLimits;
  readonly #strangers: Strangers;
  readonly #calls: AttemptCounts;
  readonly #logins: AttemptCounts;
  #server: Server;
  /** Sockets that ssh2 has, until it names the connection it made of each. */
  readonly #sockets = new Map<Socket, SshConnection<P>>();
  /** By the login's name, oldest first. */
  readonly #loggedIn = new Map<string, Set<SshConnection<P>>>();

  /** @throws AbsError MANAGER_LISTEN when the port cannot be had */
  static async start<P>(options: SshServerOptions<P>): Promise<SshServer<P>> {
    const server = new SshServer(options);
    const { host, port } = options;
    await new Promise<void>((resolve, reject) => {
      server.#listener.once("error", (cause) => {
        const what = `The manager cannot listen on ${host} port ${port}: ${messageOf(cause)}.`;
        reject(new AbsError("MANAGER_LISTEN", what, "Name another place: --listen.", cause));
      });
      server.#listener.listen(port, host, resolve);
    });
    return server;
  }

  private constructor(readonly options: SshServerOptions<P>) {
    this.#limits = { ...SSH_LIMITS, ...options.limits };
    this.#strangers = new Strangers(this.#limits);
    this.#calls = new AttemptCounts(this.#limits.callsPerMinuteMax);
    this.#logins = new AttemptCounts(this.#limits.loginsPerMinuteMax);
    this.#server = this.#serverOf(options.hostKey);
    this.#listener = createServer({ noDelay: true }, (socket) => this.#take(socket));
  }

  /** Who connects from now on meets this key; connections that stand go on. */
  show(hostKey: SshHostKey): void {
    this.#server = this.#serverOf(hostKey);
  }

  #serverOf({ seed, statement }: SshHostKey): Server {
    const server = new Server({
      hostKeys: [privateKeyText(seed, "manager")],
      greeting: statement,
      algorithms: ALGORITHMS,
      ident: "abs",
      keepaliveInterval: this.#limits.stallMs / 3,
      keepaliveCountMax: 3,
    });
    server.on("connection", (client) => this.#greet(client));
    return server;
  }

  get port(): number {
    const address = this.#listener.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  counts(): SshCounts {
    let loggedIn = 0;
    for (const connections of this.#loggedIn.values()) loggedIn += connections.size;
    return { strangers: this.#strangers.size, loggedIn };
  }

  /** Ends all connections of a login: its key was revoked. */
  cut(name: string, why: string): void {
    for (const connection of this.#loggedIn.get(name) ?? []) connection.cut(why);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#listener.close(resolve));
    for (const connection of this.#sockets.values()) connection.cut("the manager stops");
    await closed;
  }

  #take(socket: Socket): void {
    const connection = new SshConnection<P>(socket, this.options.handlers, this.#limits, {
      mayLogIn: ({ grants, name }) =>
        grants === "exec" || this.#logins.add(name, performance.now()),
      loggedIn: (login) => this.#admit(connection, login),
    });
    if (!this.#calls.add(placeOf(connection.address), performance.now())) {
      connection.cut("too many calls of one address");
      return;
    }
    if (!this.#strangers.add(connection)) {
      connection.cut("too many strangers of one address");
      return;
    }
    this.#sockets.set(socket, connection);
    socket.once("close", () => this.#forget(connection));
    this.#server.injectSocket(socket);
    connection.watch();
  }

  #greet(client: Connection): void {
    // ssh2 does not say of which socket: its own field is the only link.
    const socket = (client as unknown as { readonly _sock: Socket })._sock;
    this.#sockets.get(socket)?.greet(client);
  }

  #admit(connection: SshConnection<P>, login: SshLogin<P>): void {
    this.#strangers.remove(connection);
    const connections = this.#loggedIn.get(login.name) ?? new Set();
    this.#loggedIn.set(login.name, connections);
    const [oldest] = connections;
    if (oldest !== undefined && connections.size >= login.connectionsMax) {
      connections.delete(oldest);
      oldest.cut("a newer connection took its place");
    }
    connections.add(connection);
  }

  #forget(connection: SshConnection<P>): void {
    this.#strangers.remove(connection);
    this.#sockets.delete(connection.socket);
    const name = connection.login?.name;
    const connections = name === undefined ? undefined : this.#loggedIn.get(name);
    if (name === undefined || connections === undefined) return;
    connections.delete(connection);
    if (connections.size === 0) this.#loggedIn.delete(name);
  }
}
