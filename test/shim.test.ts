/**
 * The shim's interface seen from TypeScript: pool, ports, rings, AEAD bursts, and what each call
 * refuses; matching is shim-match.test.ts. Oracles: node:crypto (AES-GCM, HMAC), noble
 * (ChaCha20-Poly1305).
 */
import { describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addressOf, ealArguments, HEADROOM_BYTES } from "../src/dataplane/shim.ts";
import {
  AES_128_GCM,
  AES_256_GCM,
  BURST_MAX,
  CHACHA20_POLY1305,
  SHIM_ERROR,
} from "../src/dataplane/shim-symbols.ts";
import { Prng, seed } from "./prng.ts";
import { oracle } from "./shim/other-libraries.ts";
import { KEY_CAPACITY, POOL_PACKETS, ShimBench } from "./shim/shim-bench.ts";

const bench = new ShimBench();
const { shim, at } = bench;
const symbols = shim.symbols;

function thrownBy(action: () => void): { code?: string; message?: string } {
  try {
    action();
  } catch (error) {
    return error as { code?: string; message?: string };
  }
  return {};
}

describe("start", () => {
  test("names its libraries", () => {
    expect(shim.versions()).toMatch(/^DPDK 22\.11.*, intel-ipsec-mb 1\..*, Hyperscan 5\./);
  });

  test("EAL and pool start once", () => {
    const eal = ealArguments({ packets: 64, roomBytes: 2176 });
    expect(thrownBy(() => shim.startEal(eal)).code).toBe("SHIM_STATE");
    expect(thrownBy(() => shim.createPool(64, 2176)).code).toBe("SHIM_STATE");
    expect(thrownBy(() => shim.createKeys(1)).code).toBe("SHIM_STATE");
  });

  test("EAL never looks at PCI unless a device is named", () => {
    expect(ealArguments({ packets: 64, roomBytes: 2176 })).toContain("--no-pci");
    const named = ealArguments({ packets: 64, roomBytes: 2176, pciDevices: ["0000:00:04.0"] });
    expect(named).not.toContain("--no-pci");
    expect(named.slice(-2)).toEqual(["-a", "0000:00:04.0"]);
  });

  test("the thread may still run on every CPU it could before", () => {
    const first = ealArguments({ packets: 64, roomBytes: 2176 })[1];
    const fresh = Bun.spawnSync(["nproc"]).stdout.toString().trim();
    expect(first?.split(",").length).toBe(Number(fresh));
  });
});

describe("pool", () => {
  test("packets lie in the view with their headroom", () => {
    expect(symbols.abs_pool_available()).toBe(POOL_PACKETS);
    expect(bench.alloc(BURST_MAX)).toBe(BURST_MAX);
    expect(new Set(bench.handle).size).toBe(BURST_MAX);
    for (let i = 0; i < BURST_MAX; i++) {
      expect(bench.offset[i]).toBeGreaterThanOrEqual(bench.handle[i] + HEADROOM_BYTES);
      expect(bench.offset[i] + 2048).toBeLessThanOrEqual(bench.bytes.length);
    }
    expect(symbols.abs_pool_available()).toBe(POOL_PACKETS - BURST_MAX);
    expect(bench.free(BURST_MAX)).toBe(0);
    expect(symbols.abs_pool_available()).toBe(POOL_PACKETS);
  });

  test("packets do not cost a page each", () => {
    expect(bench.bytes.length).toBeLessThan(POOL_PACKETS * 2500);
  });

  test("an empty pool gives none, and all come back", () => {
    const taken: number[] = [];
    while (bench.alloc(BURST_MAX) === BURST_MAX) taken.push(...bench.handle);
    expect(taken.length).toBeGreaterThan(POOL_PACKETS - 2 * BURST_MAX);
    for (let i = 0; i < taken.length; i += BURST_MAX) {
      bench.handle.set(taken.slice(i, i + BURST_MAX));
      expect(bench.free(BURST_MAX)).toBe(0);
    }
    expect(symbols.abs_pool_available()).toBe(POOL_PACKETS);
  });

  const strangers = [
    { name: "zero", of: () => 0 },
    { name: "not aligned", of: (handle: number) => handle + 8 },
    { name: "inside a packet", of: (handle: number) => handle + 128 },
    { name: "past the pool", of: () => bench.bytes.length },
    { name: "far past the pool", of: () => 0xffffffc0 },
  ];
  test.each(strangers)("a handle that is none is refused: $name", ({ of }) => {
    bench.alloc(2);
    const good = bench.handle[1];
    bench.handle[1] = of(good);
    expect(bench.free(2)).toBe(SHIM_ERROR.argument);
    expect(shim.lastError()).toContain("packet 1");
    expect(symbols.abs_pool_available()).toBe(POOL_PACKETS - 2); // none was freed
    bench.handle[1] = good;
    expect(bench.free(2)).toBe(0);
  });
});

describe("ports", () => {
  test("null: receives for ever, swallows, and costs no packet", () => {
    const port = shim.attachPort("net_null0", "size=64");
    expect(bench.receive(port)).toBe(SHIM_ERROR.argument); // not started
    shim.startPort(port);
    expect(shim.portDriver(port)).toBe("net_null");
    expect(shim.portDescriptor(port, 0)).toBe(-1);
    expect(bench.receive(port)).toBe(BURST_MAX);
    expect(bench.length[0]).toBe(64);
    expect(bench.send(port, BURST_MAX)).toBe(BURST_MAX);
    expect(symbols.abs_pool_available()).toBe(POOL_PACKETS);
    expect(shim.portStats(port).receivedPackets).toBe(BURST_MAX);
    expect(thrownBy(() => shim.startPort(port)).code).toBe("SHIM_STATE");
    shim.stopPort(port);
    expect(bench.receive(port)).toBe(SHIM_ERROR.argument);
    const again = shim.attachPort("net_null0", "size=80"); // the name is free again
    shim.stopPort(again);
  });

  test("a pair carries bytes, order and offsets, and hands back what does not fit", () => {
    const [one, two] = shim.pairPorts("pair", 100);
    shim.startPort(one);
    shim.startPort(two);
    for (let round = 0; round < 2; round++) {
      bench.alloc(
        BURST_MAX,
        Uint8Array.from({ length: 200 }, (_, i) => i),
      );
      for (let i = 0; i < BURST_MAX; i++) {
        bench.offset[i] = bench.offset[i] - 40 + i;
        bench.length[i] = 60 + i;
        bench.bytes[bench.offset[i]] = i;
      }
      const sent = bench.send(one, BURST_MAX);
      expect(sent).toBe(round === 0 ? BURST_MAX : 100 - BURST_MAX);
      const unsent = BURST_MAX - sent;
      if (unsent > 0) symbols.abs_free_burst(at.handle + 4 * sent, unsent);
    }
    expect(bench.receive(two)).toBe(BURST_MAX);
    for (let i = 0; i < BURST_MAX; i++) {
      expect(bench.length[i]).toBe(60 + i);
      expect(bench.packet(i)[0]).toBe(i);
    }
    bench.free(BURST_MAX);
    const rest = bench.receive(two);
    expect(rest).toBe(100 - BURST_MAX);
    bench.free(rest);
    expect(bench.receive(two)).toBe(0);
    expect(shim.portStats(two).receivedPackets).toBe(100);
    expect(symbols.abs_pool_available()).toBe(POOL_PACKETS);
    shim.stopPort(one);
    shim.stopPort(two);
  });

  test("pcap: what is written is read again, also through a port", () => {
    const folder = mkdtempSync(join(tmpdir(), "abst-shim-"));
    const file = join(folder, "out.pcap");
    try {
      const writer = shim.attachPort("net_pcap0", `tx_pcap=${file}`);
      shim.startPort(writer);
      bench.alloc(
        3,
        Uint8Array.from({ length: 90 }, (_, i) => i),
      );
      expect(bench.send(writer, 3)).toBe(3);
      shim.stopPort(writer);
      expect(statSync(file).size).toBe(24 + 3 * (16 + 90));
      const reader = shim.attachPort("net_pcap1", `rx_pcap=${file}`);
      shim.startPort(reader);
      expect(bench.receive(reader)).toBe(3);
      expect(bench.packet(2)).toEqual(Uint8Array.from({ length: 90 }, (_, i) => i));
      bench.free(3);
      shim.stopPort(reader);
      expect(symbols.abs_pool_available()).toBe(POOL_PACKETS);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a refusal carries DPDK's own reason", () => {
    const error = thrownBy(() => shim.attachPort("net_af_packet9", "iface=abst-none"));
    expect(error.code).toBe("DPDK_REFUSED");
    expect(error.message).toContain("No such device");
    expect(thrownBy(() => shim.attachPort("net_nothing0", "")).code).toBe("DPDK_REFUSED");
    expect(thrownBy(() => shim.findPort("0000:99:00.0")).code).toBe("DPDK_REFUSED");
  });

  test("packets that leave their buffer are not sent", () => {
    const [one, two] = shim.pairPorts("bounds", 64);
    shim.startPort(one);
    bench.alloc(1);
    const offset = bench.offset[0];
    const bad = [
      [offset - HEADROOM_BYTES - 1, 60],
      [offset, 2049],
      [offset, 0],
      [offset, 0xffffffff],
      [0, 60],
      [0xffffffff, 60],
    ] as const;
    for (const [start, length] of bad) {
      bench.offset[0] = start;
      bench.length[0] = length;
      expect(bench.send(one, 1)).toBe(SHIM_ERROR.argument);
    }
    expect(bench.free(1)).toBe(0);
    shim.stopPort(one);
    shim.stopPort(two);
  });
});

describe("rings and waiting", () => {
  test("a ring hands packets over in order and takes no more than it holds", () => {
    const ring = shim.createRing("hand-over", 70);
    bench.alloc(BURST_MAX);
    for (let i = 0; i < BURST_MAX; i++) bench.bytes[bench.offset[i]] = i;
    expect(symbols.abs_ring_put(ring, at.handle, at.offset, at.length, BURST_MAX)).toBe(BURST_MAX);
    bench.alloc(8);
    expect(symbols.abs_ring_put(ring, at.handle, at.offset, at.length, 8)).toBe(6);
    symbols.abs_free_burst(at.handle + 24, 2);
    expect(symbols.abs_ring_take(ring, at.handle, at.offset, at.length, 64)).toBe(BURST_MAX);
    for (let i = 0; i < BURST_MAX; i++) expect(bench.packet(i)[0]).toBe(i);
    bench.free(BURST_MAX);
    expect(symbols.abs_ring_take(ring, at.handle, at.offset, at.length, 64)).toBe(6);
    bench.free(6);
    expect(symbols.abs_ring_take(ring, at.handle, at.offset, at.length, 64)).toBe(0);
    expect(symbols.abs_pool_available()).toBe(POOL_PACKETS);
  });

  test("waiting takes its time in microseconds and goes on counting", () => {
    const before = symbols.abs_now_us();
    expect(symbols.abs_wait(0, 0, 3000)).toBe(0);
    expect(symbols.abs_now_us() - before).toBeGreaterThanOrEqual(3000);
  });
});

const aeads = [
  { name: "aes-128-gcm", algorithm: AES_128_GCM, keyBytes: 16 },
  { name: "aes-256-gcm", algorithm: AES_256_GCM, keyBytes: 32 },
  { name: "chacha20-poly1305", algorithm: CHACHA20_POLY1305, keyBytes: 32 },
];

function sealBurst(count: number): number {
  return symbols.abs_seal_burst(at.key, at.offset, at.length, at.confidential, count);
}

function openBurst(count: number): number {
  return symbols.abs_open_burst(
    at.key,
    at.offset,
    at.length,
    at.confidential,
    at.pseudo,
    at.valid,
    count,
  );
}

describe("seal and open", () => {
  const random = new Prng(seed);
  const randomBytes = (count: number) =>
    Uint8Array.from({ length: count }, () => random.below(256));

  /** 64 packets of random content, half confidential, keys 0..7 of `algorithm`; what they hold. */
  function fillBurst(algorithm: number, keyBytes: number) {
    const keys = Array.from({ length: 8 }, () => randomBytes(keyBytes));
    for (const [i, key] of keys.entries()) shim.setKey(i, algorithm, key);
    bench.alloc(BURST_MAX);
    const packets = Array.from({ length: BURST_MAX }, (_, i) => {
      const text = [0, 1, 15, 16, 17, 31, 33, 64, 255, 1400, 1900][i % 11] ?? random.below(1900);
      const content = randomBytes(32 + text);
      bench.bytes.set(content, bench.offset[i]);
      bench.length[i] = text;
      bench.key[i] = random.below(8);
      bench.confidential[i] = random.below(2);
      bench.pseudo.set(content.subarray(16, 32), 16 * i);
      return { content, key: keys[bench.key[i]] };
    });
    return packets;
  }

  const sealedAt = (i: number) =>
    bench.bytes.slice(bench.offset[i], bench.offset[i] + 32 + bench.length[i]);

  test.each(aeads)(`$name gives what another library gives (SEED=${seed})`, (aead) => {
    for (let round = 0; round < 8; round++) {
      const packets = fillBurst(aead.algorithm, aead.keyBytes);
      expect(sealBurst(BURST_MAX)).toBe(BURST_MAX);
      for (const [i, { content, key }] of packets.entries()) {
        const confidential = bench.confidential[i] === 1;
        const nonce = new Uint8Array(12);
        nonce.set(content.subarray(8, 16), 4);
        const expected = confidential
          ? oracle(aead.name, key, nonce, content.subarray(0, 32), content.subarray(32))
          : oracle(aead.name, key, nonce, content, new Uint8Array(0));
        const sealed = sealedAt(i);
        expect(sealed.subarray(0, 16)).toEqual(content.subarray(0, 16));
        expect(sealed.subarray(16, 32)).toEqual(expected.tag);
        expect(sealed.subarray(32)).toEqual(confidential ? expected.text : content.subarray(32));
      }
      expect(openBurst(BURST_MAX)).toBe(BURST_MAX);
      expect([...bench.valid].every((valid) => valid === 1)).toBe(true);
      for (const [i, { content }] of packets.entries()) {
        expect(sealedAt(i).subarray(32)).toEqual(content.subarray(32));
      }
      bench.free(BURST_MAX);
    }
  });

  test.each(aeads)(`$name: one changed bit anywhere is seen (SEED=${seed})`, (aead) => {
    const packets = fillBurst(aead.algorithm, aead.keyBytes);
    sealBurst(BURST_MAX);
    for (let i = 0; i < BURST_MAX; i++) {
      if (i % 4 === 3) continue; // every fourth packet stays whole
      const start = bench.offset[i];
      const size = 32 + bench.length[i];
      if (i % 4 === 0) bench.bytes[start + random.below(size)] ^= 1 << random.below(8);
      if (i % 4 === 1) bench.pseudo[16 * i + random.below(16)] ^= 1 << random.below(8);
      if (i % 4 === 2) bench.key[i] = (bench.key[i] + 1) % 8;
    }
    expect(openBurst(BURST_MAX)).toBe(BURST_MAX);
    for (let i = 0; i < BURST_MAX; i++) expect(bench.valid[i]).toBe(i % 4 === 3 ? 1 : 0);
    expect(packets.length).toBe(BURST_MAX);
    bench.free(BURST_MAX);
  });

  test("a missing key or a range outside the pool refuses the whole burst", () => {
    const packets = fillBurst(AES_128_GCM, 16);
    shim.clearKey(5);
    bench.key[40] = 5;
    expect(sealBurst(BURST_MAX)).toBe(SHIM_ERROR.argument);
    expect(shim.lastError()).toContain("key 5");
    bench.key[40] = KEY_CAPACITY;
    expect(sealBurst(BURST_MAX)).toBe(SHIM_ERROR.argument);
    bench.key.fill(0);
    const offset = bench.offset[63];
    for (const bad of [bench.bytes.length - 31, 0xffffffff]) {
      bench.offset[63] = bad;
      expect(sealBurst(BURST_MAX)).toBe(SHIM_ERROR.argument);
      expect(openBurst(BURST_MAX)).toBe(SHIM_ERROR.argument);
    }
    bench.offset[63] = offset;
    bench.length[63] = 65536;
    expect(openBurst(BURST_MAX)).toBe(SHIM_ERROR.argument);
    expect(sealedAt(0)).toEqual(packets[0]?.content ?? new Uint8Array(0)); // nothing was touched
    expect(sealBurst(0)).toBe(SHIM_ERROR.argument);
    expect(sealBurst(65)).toBe(SHIM_ERROR.argument);
    bench.free(BURST_MAX);
  });

  test("keys outside the table and unknown algorithms are refused", () => {
    const bytes = randomBytes(16);
    expect(thrownBy(() => shim.setKey(KEY_CAPACITY, AES_128_GCM, bytes)).code).toBe(
      "SHIM_ARGUMENT",
    );
    expect(thrownBy(() => shim.clearKey(KEY_CAPACITY)).code).toBe("SHIM_ARGUMENT");
    expect(symbols.abs_key_set(0, 4, addressOf(bytes))).toBe(SHIM_ERROR.argument);
  });

  test("HMAC-SHA-256 of every length up to 260", () => {
    bench.alloc(1);
    const offset = bench.offset[0];
    const out = new Uint8Array(new ArrayBuffer(32));
    for (let length = 0; length <= 260; length++) {
      const text = randomBytes(length);
      const key = randomBytes(length % 65);
      bench.bytes.set(text, offset);
      expect(symbols.abs_hmac_sha256(key, key.length, offset, length, out)).toBe(0);
      expect(Buffer.from(out).toString("hex")).toBe(
        createHmac("sha256", key).update(text).digest("hex"),
      );
    }
    expect(symbols.abs_hmac_sha256(out, 65, offset, 1, out)).toBe(SHIM_ERROR.argument);
    expect(symbols.abs_hmac_sha256(out, 32, offset, 2049, out)).toBe(SHIM_ERROR.argument);
    expect(symbols.abs_hmac_sha256(out, 32, bench.bytes.length, 1, out)).toBe(SHIM_ERROR.argument);
    bench.free(1);
  });
});
