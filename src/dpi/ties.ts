/**
 * Ties: two signatures of different applications with the same rank that match one and the same
 * payload, so that nothing says which application it is. A tie that is certain is an error when
 * signatures are compiled; one that cannot be ruled out is a warning (the smaller sig_id wins).
 *
 * Two signatures exclude each other when their numbers, their lengths or the values they allow at
 * some payload position have nothing in common. When all contents stand at fixed positions, or
 * both ask for the same contents, a common payload certainly exists. Where both name usual ports
 * and none in common, the flow's port decides, and there is no tie.
 */

import { AbsError } from "../errors.ts";
import { type AddressWords, compareWords, type IpRange } from "../wire/ip-text.ts";
import type { ByteSet } from "./byte-set.ts";
import { contentIsPinned, contentNeed, contentPositions } from "./content-expression.ts";
import type { AppSignature, NumberRange, SignatureContent } from "./signature.ts";

/** More warnings than this help nobody. */
const WARNINGS_MAX = 100;

/**
 * Looks at neighbours of equal rank in `ranked` (winning order). Throws AbsError
 * `SIGNATURE_INVALID` for a certain tie; returns the possible ones in words.
 */
export function checkTies(
  ranked: readonly AppSignature[],
  sameRank: (left: AppSignature, right: AppSignature) => boolean,
): string[] {
  const warnings: string[] = [];
  const profiles = ranked.map(profileOf);
  for (const [i, left] of profiles.entries()) {
    for (let j = i + 1; j < profiles.length; j++) {
      const right = profiles[j];
      if (right === undefined || !sameRank(left.signature, right.signature)) break;
      if (left.signature.app === right.signature.app) continue;
      if (!judgeTogether(left.signature, right.signature) || exclude(left, right)) continue;
      const words = `${left.signature.place}: "${left.signature.id}" (${left.signature.app}) and
        "${right.signature.id}" (${right.signature.app}) at ${right.signature.place}`;
      const pair = words.replace(/\s+/g, " ");
      if (portsDecide(left.signature, right.signature)) continue;
      if (isCertain(left, right)) {
        const message = `${pair} match the same payloads and rank alike.`;
        const remedy = "Give one a higher priority, or make it more specific.";
        throw new AbsError("SIGNATURE_INVALID", message, remedy);
      }
      if (warnings.length < WARNINGS_MAX) warnings.push(`${pair} may match the same payload.`);
    }
  }
  return warnings;
}

/** Two signatures of different applications that one payload can match: `winner` is chosen. */
export interface Overlap {
  readonly winner: AppSignature;
  readonly loser: AppSignature;
  /** A common payload exists for certain. */
  readonly certain: boolean;
  /** The loser never wins: whatever matches it matches the winner. */
  readonly shadowed: boolean;
}

/** Overlaps among `ranked` (winning order), by comparing each with each: for linting. */
export function findOverlaps(ranked: readonly AppSignature[]): Overlap[] {
  const profiles = ranked.map(profileOf);
  return profiles.flatMap((left, i) =>
    profiles.slice(i + 1).flatMap((right) => {
      const [winner, loser] = [left.signature, right.signature];
      if (winner.app === loser.app || !judgeTogether(winner, loser)) return [];
      if (exclude(left, right)) return [];
      const shadowed = covers(winner, loser) && !portsDecide(winner, loser);
      return [{ winner, loser, certain: shadowed || isCertain(left, right), shadowed }];
    }),
  );
}

/** Why no flow can match the signature; undefined when one may. */
export function neverMatches(signature: AppSignature): string | undefined {
  const { contents } = signature;
  const required = contents.filter(({ not }) => !not);
  const keys = new Set(required.map(contentKey));
  const both = contents.find((one) => one.not && keys.has(contentKey({ ...one, not: false })));
  if (both !== undefined) return `it requires and forbids ${both.expr}`;
  for (const direction of ["request", "response"] as const) {
    const seen = new Map<number, ByteSet>();
    for (const content of required.filter((one) => one.direction === direction)) {
      for (const { position, allowed } of contentPositions(content)) {
        const set = seen.get(position)?.intersect(allowed) ?? allowed;
        if (set.isEmpty) return `its contents ask for different values of byte ${position}`;
        seen.set(position, set);
      }
    }
  }
  return undefined;
}

/** Whether all that matches `inner` matches `outer`, as far as equal contents tell. */
function covers(outer: AppSignature, inner: AppSignature): boolean {
  const keys = new Set(inner.contents.map(contentKey));
  const fields = (signature: AppSignature) => [
    signature.protocols,
    signature.sourcePorts,
    signature.destinationPorts,
    signature.sourceAddresses,
    signature.destinationAddresses,
    signature.length,
  ];
  const theirs = fields(inner);
  return (
    outer.contents.every((content) => keys.has(contentKey(content))) &&
    fields(outer).every(
      (field, i) => field === undefined || JSON.stringify(field) === JSON.stringify(theirs[i]),
    )
  );
}

/** A signature with what its contents say about single positions, per direction. */
interface Profile {
  readonly signature: AppSignature;
  readonly positions: readonly [ReadonlyMap<number, ByteSet>, ReadonlyMap<number, ByteSet>];
  /** Every content stands at fixed positions and none is negated. */
  readonly pinned: boolean;
  readonly contentKey: string;
}

function profileOf(signature: AppSignature): Profile {
  const positive = signature.contents.filter(({ not }) => !not);
  const mapFor = (direction: SignatureContent["direction"]) => {
    const map = new Map<number, ByteSet>();
    for (const content of positive.filter((one) => one.direction === direction)) {
      for (const { position, allowed } of contentPositions(content)) {
        const known = map.get(position);
        map.set(position, known === undefined ? allowed : known.intersect(allowed));
      }
    }
    return map;
  };
  return {
    signature,
    positions: [mapFor("request"), mapFor("response")],
    pinned: signature.contents.every((content) => !content.not && contentIsPinned(content)),
    contentKey: signature.contents.map(contentKey).sort().join("\n"),
  };
}

function contentKey({ expr, offset, depth, direction, not }: SignatureContent): string {
  return [direction, not, offset, depth, expr].join(" ");
}

/** Whether both judge requests, or both judge responses. */
function judgeTogether(left: AppSignature, right: AppSignature): boolean {
  const judges = (signature: AppSignature, direction: SignatureContent["direction"]) =>
    signature.contents.length === 0
      ? direction === "request"
      : signature.contents.some((content) => content.direction === direction);
  return (["request", "response"] as const).some(
    (direction) => judges(left, direction) && judges(right, direction),
  );
}

/** Whether no flow can match both. */
function exclude(left: Profile, right: Profile): boolean {
  const one = left.signature;
  const other = right.signature;
  if (disjointNumbers(one.protocols, other.protocols)) return true;
  if (disjointRanges(one.sourcePorts, other.sourcePorts)) return true;
  if (disjointRanges(one.destinationPorts, other.destinationPorts)) return true;
  if (disjointAddresses(one.sourceAddresses, other.sourceAddresses)) return true;
  if (disjointAddresses(one.destinationAddresses, other.destinationAddresses)) return true;
  if (lengthsExclude(one, other) || lengthsExclude(other, one)) return true;
  if (negates(one, other) || negates(other, one)) return true;
  return [0, 1].some((d) => {
    const theirs = right.positions[d];
    for (const [position, allowed] of left.positions[d] ?? []) {
      const set = theirs?.get(position);
      if (set?.intersect(allowed).isEmpty) return true;
    }
    return false;
  });
}

/** Whether a flow can be at home with one of them only. */
function portsDecide({ usualPorts: left }: AppSignature, { usualPorts: right }: AppSignature) {
  return left.length > 0 && right.length > 0 && disjointRanges(left, right);
}

function isCertain(left: Profile, right: Profile): boolean {
  return left.contentKey === right.contentKey || (left.pinned && right.pinned);
}

/** `one` allows no payload as long as `other` needs, or only other lengths. */
function lengthsExclude(one: AppSignature, other: AppSignature): boolean {
  if (one.length === undefined) return false;
  const needs = other.contents
    .filter(({ not, direction }) => !not && direction === "request")
    .map(contentNeed);
  const low = Math.max(other.length?.low ?? 0, ...needs);
  return one.length.high < low;
}

/** `one` forbids a content that `other` requires. */
function negates(one: AppSignature, other: AppSignature): boolean {
  const required = new Set(other.contents.filter(({ not }) => !not).map(contentKey));
  return one.contents.some(
    (content) => content.not && required.has(contentKey({ ...content, not: false })),
  );
}

function disjointNumbers(
  left: readonly number[] | undefined,
  right: readonly number[] | undefined,
): boolean {
  if (left === undefined || right === undefined) return false;
  return !left.some((number) => right.includes(number));
}

function disjointRanges(
  left: readonly NumberRange[] | undefined,
  right: readonly NumberRange[] | undefined,
): boolean {
  if (left === undefined || right === undefined) return false;
  return !left.some((one) => right.some((two) => one.low <= two.high && two.low <= one.high));
}

function disjointAddresses(
  left: readonly IpRange[] | undefined,
  right: readonly IpRange[] | undefined,
): boolean {
  if (left === undefined || right === undefined) return false;
  const notAbove = (low: AddressWords, high: AddressWords) => compareWords(low, high) <= 0;
  return !left.some((one) =>
    right.some(
      (two) =>
        one.version === two.version && notAbove(one.low, two.high) && notAbove(two.low, one.high),
    ),
  );
}
