/** Addresses as people and controllers write them, and as FlowMatch has them: hex of the bytes. */
import { addressBytes, formatAddress, parseAddress } from "../wire/ip-text.ts";

const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** Undefined: it is none. */
export function hexOfMac(text: string | undefined): string | undefined {
  const lower = text?.toLowerCase();
  return lower !== undefined && MAC.test(lower) ? lower.replaceAll(":", "") : undefined;
}

export function macText(hex: string): string {
  return (hex.match(/../g) ?? []).join(":");
}

/** Of IPv4 8 digits, of IPv6 32. Undefined: it is none. */
export function ipHex(text: string | undefined): string | undefined {
  const address = text === undefined ? undefined : parseAddress(text);
  return address === undefined ? undefined : addressBytes(address).toHex();
}

export function ipText(hex: string): string {
  const [a, b, c, d] = [0, 8, 16, 24].map((at) => Number.parseInt(hex.slice(at, at + 8), 16));
  if (hex.length === 8) return [...Uint8Array.fromHex(hex)].join(".");
  return formatAddress({ version: 6, words: [a ?? 0, b ?? 0, c ?? 0, d ?? 0] });
}
