/**
 * Which sessions there are, on disk: written when they changed, at most once a second, read at the
 * next start. docs/wire.md "A starting agent handshakes at once with every peer it had sessions
 * with".
 */
import { fromHex, toHex } from "../bytes.ts";
import type { InstallOutput } from "../session/session-api.ts";
import type { PeerIndex, Role, SessionSlot, TagIndex } from "../units.ts";
import type { Provisioning } from "./provisioning.ts";
import type { Routes } from "./routes.ts";
import { loadSessions, type RememberedSession, saveSessions } from "./state-dir.ts";

const SAVE_EVERY_MS = 1_000;

export class Remembered {
  #sessions: readonly RememberedSession[] = [];
  #isDirty = false;
  #savedAt = 0;

  constructor(
    readonly stateDir: string,
    /** Updates replace it. */
    public provisioning: Provisioning,
    readonly routes: Routes,
  ) {}

  /** Takes note of what is installed now. */
  note(installed: ReadonlyMap<SessionSlot, InstallOutput>): void {
    const rows = new Map<string, RememberedSession>();
    for (const { peer, tag, myRole } of installed.values()) {
      const route = this.routes.of(peer);
      const id = this.provisioning.peers[peer]?.id;
      if (route === undefined || id === undefined) continue;
      rows.set(`${peer} ${tag} ${myRole}`, {
        peer: id,
        app: this.provisioning.tags[tag]?.name ?? "",
        role: myRole,
        link: toHex(route.link),
        source: toHex(route.source),
        destination: toHex(route.destination),
      });
    }
    this.#sessions = [...rows.values()];
    this.#isDirty = true;
  }

  save(now = false): void {
    if (!this.#isDirty) return;
    const at = performance.now();
    if (!now && at - this.#savedAt < SAVE_EVERY_MS) return;
    this.#isDirty = false;
    this.#savedAt = at;
    saveSessions(this.stateDir, this.#sessions);
  }

  /**
   * The bindings of the run before that still mean something; their routes are known from here on.
   */
  load(): { peer: PeerIndex; tag: TagIndex; role: Role }[] {
    const found: { peer: PeerIndex; tag: TagIndex; role: Role }[] = [];
    for (const entry of loadSessions(this.stateDir)) {
      const peer = this.provisioning.peers.findIndex(({ id }) => id === entry.peer);
      const tag = this.provisioning.tags.findIndex(({ name }) => name === entry.app);
      const [link, source, destination] = [entry.link, entry.source, entry.destination].map(
        fromHex,
      );
      if (peer < 0 || tag < 0 || !link || !source || !destination) continue;
      this.routes.learn(peer as PeerIndex, { link, source, destination });
      found.push({ peer: peer as PeerIndex, tag: tag as TagIndex, role: entry.role });
    }
    return found;
  }
}
