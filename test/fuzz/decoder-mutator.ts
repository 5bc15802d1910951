/**
 * Structure-aware changes to messages of the wire: fields as the codecs' layouts name them are set
 * to notable values, noise or another message's bytes; messages are cut, lengthened and joined.
 */

import { COOKIE_REPLY_LAYOUT } from "../../src/wire/cookie-reply.ts";
import {
  INITIATION_LAYOUT,
  PAYLOAD_LAYOUT,
  RESPONSE_LAYOUT,
} from "../../src/wire/handshake-message.ts";
import { COMMON_HEADER_LAYOUT, type Field } from "../../src/wire/header.ts";
import { HINT_LAYOUT, SEALED_REJECT_LAYOUT } from "../../src/wire/reject-message.ts";
import type { Prng } from "./prng.ts";

const LAYOUTS: readonly (readonly Field[])[] = [
  COMMON_HEADER_LAYOUT,
  INITIATION_LAYOUT,
  RESPONSE_LAYOUT,
  PAYLOAD_LAYOUT,
  COOKIE_REPLY_LAYOUT,
  SEALED_REJECT_LAYOUT,
  HINT_LAYOUT,
];
const NOTABLE = [0x00, 0x01, 0x02, 0x03, 0x04, 0x06, 0x0f, 0x10, 0x14, 0x15, 0x16, 0x80, 0xff];

/** A changed copy of `seed`; `other` lends bytes. */
export function mutate(prng: Prng, seed: Uint8Array, other: Uint8Array): Uint8Array {
  let bytes: Uint8Array = seed.slice();
  for (let changes = 1 + prng.below(3); changes > 0; changes--) {
    const way = prng.below(10);
    if (way < 6) changeField(prng, bytes, other);
    else if (way < 8) flipBit(prng, bytes);
    else bytes = changeLength(prng, bytes, other);
  }
  return bytes;
}

function changeField(prng: Prng, bytes: Uint8Array, other: Uint8Array): void {
  const layout = LAYOUTS[prng.below(LAYOUTS.length)] ?? COMMON_HEADER_LAYOUT;
  const field = layout[prng.below(layout.length)];
  if (field === undefined) return;
  const end = Math.min(bytes.length, field.offset + field.sizeBytes);
  const way = prng.below(4);
  const value = NOTABLE[prng.below(NOTABLE.length)] ?? 0;
  for (let i = field.offset; i < end; i++) {
    if (way === 0) bytes[i] = prng.below(256);
    else if (way === 1) bytes[i] = other[i] ?? 0;
    else if (way === 2) bytes[i] = value;
    else if (i === end - 1) bytes[i] = value;
  }
}

function flipBit(prng: Prng, bytes: Uint8Array): void {
  if (bytes.length === 0) return;
  const at = prng.below(bytes.length);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << prng.below(8));
}

function changeLength(prng: Prng, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const way = prng.below(4);
  if (way === 0) return bytes.slice(0, bytes.length - 1);
  if (way === 1) return bytes.slice(0, prng.below(bytes.length + 1));
  const longer = new Uint8Array(way === 2 ? bytes.length + 1 : bytes.length + prng.below(64));
  longer.set(bytes);
  longer.set(other.subarray(0, longer.length - bytes.length), bytes.length);
  return longer;
}
