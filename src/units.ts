/**
 * Units and ids as types: a number of one kind cannot be passed for another. STYLE "Units and ids".
 * Cast only where a value is made or checked.
 */
declare const brand: unique symbol;
export type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** Monotonic microseconds (CLOCK_MONOTONIC) inside one process. */
export type Micros = Branded<number, "Micros">;
/** UTC seconds since 1970, on disk and on the wire. */
export type EpochSeconds = Branded<number, "EpochSeconds">;
/** UTC milliseconds since 1970 as the wall clock reads now; never used to measure a duration. */
export type WallMillis = Branded<number, "WallMillis">;
/** Position of a peer (another agent of the tenant) in the peer list of the provisioning. */
export type PeerIndex = Branded<number, "PeerIndex">;
/**
 * Position of an application tag in the tag list; TENANT_TAG (0) is the zero tag of tenant
 * sessions.
 */
export type TagIndex = Branded<number, "TagIndex">;
/** Position of a session in the session table of a worker. */
export type SessionSlot = Branded<number, "SessionSlot">;
/**
 * 0: the sender's packets are of the application; 1: they are replies (docs/wire.md "Session, tag,
 * role").
 */
export type Role = 0 | 1;

/** The zero application tag: quick-mode traffic and connection establishment. */
export const TENANT_TAG = 0 as TagIndex;
