/** IP protocol numbers as the words that people and label files use. */
import { PROTOCOL_NUMBERS } from "../store/network-values.ts";

const WORDS = new Map([...PROTOCOL_NUMBERS].map(([word, number]) => [number, word]));

export function protocolWord(protocol: number): string {
  return WORDS.get(protocol) ?? String(protocol);
}
