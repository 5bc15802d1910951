/**
 * Policy lookups in the data plane (design/agent.md "Policy"): the first rule that applies decides,
 * else the default. Hot path.
 *
 * A small cache answers repeated questions, and the snapshot's port index keeps a miss from looking
 * at rules for other ports, so the cost of a lookup does not grow with the rules.
 *
 * Applications. In full mode an allow rule needs proof: the tag it names, or any tag when it names
 * none; the zero tag proves nothing. In quick mode (the own mode for inbound, the peer's for
 * outbound) the tenant is enough. A deny rule that names an application needs that tag, any other
 * applies to all. With TAG_UNKNOWN the answer is whether some application could be allowed. Nobody
 * outside the tenant proves anything: only a rule with a `cidr` lets new flows in from there.
 */

import { RANGE_WORDS, rangeHolds } from "../wire/address-range.ts";
import {
  ACTION_ALLOW,
  ACTION_DENY,
  DIRECTION_IN,
  type PolicyDecision,
  REFUSE_DROP,
  REFUSE_REJECT,
  RESERVED_RULE_BASE,
  RULE_DEFAULT_INBOUND,
  RULE_DEFAULT_MULTICAST,
  RULE_DEFAULT_NON_INTER_VM,
  RULE_DEFAULT_OTHER_TENANT,
  RULE_DEFAULT_OUTBOUND,
  RULE_DEFAULT_OUTSIDE,
  RULE_DEFAULT_TAG_REQUIRED,
  TAG_UNKNOWN,
} from "./decision.ts";
import { DecisionCache } from "./decision-cache.ts";
import { EXCEPTION_ARP, exceptionRule } from "./exceptions.ts";
import {
  APP_ANY,
  ENTRY_WORDS,
  FILTER_APP_ANY,
  FILTER_APP_SHIFT,
  FILTER_OUTSIDE,
  LIST_SEARCHED,
  PARTY_ANY,
  PARTY_PEERS,
  PORT_CLASS_OTHER,
  PORT_CLASS_TCP,
  PORT_CLASS_UDP,
  PORT_CLASSES,
  type PolicySnapshot,
  PROTOCOL_SET_WORDS,
  SETTING_EXCEPTIONS,
  SETTING_INBOUND,
  SETTING_NON_INTER_VM,
  SETTING_OUTBOUND,
  SETTING_OWN_QUICK,
  SETTING_PEER_SET_WORDS,
  SETTING_REFUSE,
  SETTING_STAGE,
  SETTING_TAGS,
} from "./snapshot.ts";

/**
 * An answer is a rule index in the bits below, and these: all that a decision says but for a time
 * and a contract, which few rules have for themselves. A hit then reads nothing of its rule, whose
 * columns would not all be in the processor's cache when there are many.
 */
const VALUE_RULE = 0xff_ffff;
const VALUE_ALLOW = 1 << 24;
const VALUE_SERVER_FIRST = 1 << 25;
const VALUE_REJECT = 1 << 26;
const VALUE_RETURN_IDENTIFY = 1 << 27;
const VALUE_STAGE_SHIFT = 28;
const VALUE_STAGE = 3;
/** The rule has a `midstream` or a contract of its own. */
const VALUE_OWN = 1 << 30;

const TCP = 6;
const UDP = 17;

/** How a rule bears on a question. */
const NO_MATCH = 0;
const MATCH = 1;
const DENIES_APP = 2;

export class PolicyView {
  /** Lookups answered by the cache, and those that had to look at rules. */
  cacheHits = 0;
  cacheMisses = 0;

  private readonly cache = new DecisionCache();
  /** Equal to `walk` for tags that an earlier rule of the running walk decided. */
  private readonly decidedInWalk: Uint32Array;
  private walk = 0;
  private decidedCount = 0;

  // The question being answered, kept in fields so that helpers need not pass it along.
  private direction = 0;
  private peer = 0;
  private address0 = 0;
  private address1 = 0;
  private address2 = 0;
  private address3 = 0;
  private ipVersion = 0;
  private tag = 0;
  private protocol = 0;
  private port = 0;
  private quick = 0;

  // Where its walk over the rules is.
  private narrow = 0;
  private narrowEnd = 0;
  private wide = 0;
  private wideEnd = 0;
  private isOtherClass = 0;
  private wantedEnd = 0;
  private wantedApp = 0;

  constructor(private readonly snapshot: PolicySnapshot) {
    this.decidedInWalk = new Uint32Array(Math.max(1, snapshot.settings[SETTING_TAGS] ?? 1));
  }

  /**
   * Decides on a flow and writes `out`. `direction`: who began it (DIRECTION_IN: the remote end).
   * `peer`: index of the remote agent, or PEER_NONE. `address0..3`: the remote address. `tag`: the
   * application's tag index, 0 when the packet came under the tenant session, TAG_UNKNOWN before
   * identification. `port`: of the flow's responder; ignored for protocols without ports.
   */
  decide(
    direction: number,
    peer: number,
    address0: number,
    address1: number,
    address2: number,
    address3: number,
    ipVersion: number,
    tag: number,
    protocol: number,
    port: number,
    out: PolicyDecision,
  ): void {
    const hasPort = protocol === TCP || protocol === UDP || this.portsOf(protocol);
    const portKey = hasPort ? port : 0;
    const cache = this.cache;
    const entry = cache.locate(
      direction,
      peer,
      address0,
      address1,
      address2,
      address3,
      ipVersion,
      tag,
      protocol,
      portKey,
    );
    if (cache.isHit === 1) {
      this.cacheHits++;
      this.write(cache.valueAt(entry), out);
      return;
    }
    this.cacheMisses++;
    this.direction = direction;
    this.peer = peer;
    this.address0 = address0 >>> 0;
    this.address1 = address1 >>> 0;
    this.address2 = address2 >>> 0;
    this.address3 = address3 >>> 0;
    this.ipVersion = ipVersion;
    this.tag = tag;
    this.protocol = protocol;
    this.port = portKey;
    const value = this.completed(this.lookUp(hasPort));
    cache.fill(entry, value);
    this.write(value, out);
  }

  /**
   * Whether some inbound rule opens `port` to that peer for some application: what a payload-free
   * segment under the tenant session needs. `out` receives the decision.
   */
  opensPort(
    peer: number,
    address0: number,
    address1: number,
    address2: number,
    address3: number,
    ipVersion: number,
    protocol: number,
    port: number,
    out: PolicyDecision,
  ): boolean {
    this.decide(
      DIRECTION_IN,
      peer,
      address0,
      address1,
      address2,
      address3,
      ipVersion,
      TAG_UNKNOWN,
      protocol,
      port,
      out,
    );
    return out.action === ACTION_ALLOW;
  }

  /**
   * The built-in exception a packet falls under, as a reserved rule index, or -1. `icmpType` and
   * `icmpCode` are read for ICMP only. Hop limits and addresses of ND are the guard's business.
   */
  exception(
    direction: number,
    ipVersion: number,
    protocol: number,
    sourcePort: number,
    destinationPort: number,
    icmpType: number,
    icmpCode: number,
  ): number {
    return exceptionRule(
      this.setting(SETTING_EXCEPTIONS),
      direction,
      ipVersion,
      protocol,
      sourcePort,
      destinationPort,
      icmpType,
      icmpCode,
    );
  }

  /** Whether ARP passes (subject to the guard). */
  allowsArp(): boolean {
    return ((this.setting(SETTING_EXCEPTIONS) >>> EXCEPTION_ARP) & 1) === 1;
  }

  private setting(index: number): number {
    return this.snapshot.settings[index];
  }

  private portsOf(protocol: number): boolean {
    return protocol === 33 || protocol === 132 || protocol === 136;
  }

  private write(value: number, out: PolicyDecision): void {
    const rule = value & VALUE_RULE;
    out.action = value & VALUE_ALLOW ? ACTION_ALLOW : ACTION_DENY;
    out.rule = rule;
    out.serverFirst = value & VALUE_SERVER_FIRST ? 1 : 0;
    out.refuse = value & VALUE_REJECT ? REFUSE_REJECT : REFUSE_DROP;
    out.returnIdentify = value & VALUE_RETURN_IDENTIFY ? 1 : 0;
    out.stage = (value >>> VALUE_STAGE_SHIFT) & VALUE_STAGE;
    const isOwn = (value & VALUE_OWN) !== 0;
    const snapshot = this.snapshot;
    out.midstreamUntil = isOwn ? snapshot.ruleMidstreamUntil[rule] : snapshot.defaultTimes[0];
    out.contract = isOwn ? snapshot.ruleContract[rule] - 1 : -1;
  }

  /** An answer of `lookUp` with all that its rule, or the default, says besides. */
  private completed(value: number): number {
    const rule = value & VALUE_RULE;
    if (rule >= RESERVED_RULE_BASE) {
      const reject = this.setting(SETTING_REFUSE) === REFUSE_REJECT ? VALUE_REJECT : 0;
      return value | reject | (this.setting(SETTING_STAGE) << VALUE_STAGE_SHIFT);
    }
    const snapshot = this.snapshot;
    const isOwn =
      snapshot.ruleContract[rule] !== 0 ||
      snapshot.ruleMidstreamUntil[rule] !== snapshot.defaultTimes[0];
    return (
      value |
      (snapshot.ruleRefuse[rule] === REFUSE_REJECT ? VALUE_REJECT : 0) |
      (snapshot.ruleReturnIdentify[rule] === 1 ? VALUE_RETURN_IDENTIFY : 0) |
      (snapshot.ruleStage[rule] << VALUE_STAGE_SHIFT) |
      (isOwn ? VALUE_OWN : 0)
    );
  }

  /** Answers the question in the fields: rule | VALUE_ALLOW | VALUE_SERVER_FIRST. */
  private lookUp(hasPort: boolean): number {
    const snapshot = this.snapshot;
    const peerIsQuick = this.peer >= 0 && snapshot.peerQuick[this.peer] === 1;
    const ownIsQuick = this.setting(SETTING_OWN_QUICK) === 1;
    this.quick = (this.direction === DIRECTION_IN ? ownIsQuick : peerIsQuick) ? 1 : 0;
    this.beginWalk(hasPort ? this.port : 0);
    let possible = -1;
    for (let rule = this.nextRule(); rule >= 0; rule = this.nextRule()) {
      const bearing = this.bearingOf(rule);
      if (bearing === NO_MATCH) continue;
      if (bearing === DENIES_APP) {
        this.decideInWalk(snapshot.ruleApp[rule]);
        continue;
      }
      if (snapshot.ruleAction[rule] === ACTION_DENY) return possible >= 0 ? possible : rule;
      const serverFirst = snapshot.ruleServerFirst[rule] === 1;
      // With the tag unknown a later rule for another application may let the server speak first.
      if (possible < 0) possible = rule | VALUE_ALLOW;
      if (serverFirst) return possible | VALUE_SERVER_FIRST;
      if (this.tag !== TAG_UNKNOWN || this.isCertain(rule)) return possible;
      this.decideInWalk(snapshot.ruleApp[rule]);
    }
    return possible >= 0 ? possible : this.defaultFor();
  }

  /** Finds the lists of rules to walk, and what their filters must have. */
  private beginWalk(port: number): void {
    const snapshot = this.snapshot;
    let portClass = PORT_CLASS_OTHER;
    if (this.protocol === TCP) portClass = PORT_CLASS_TCP;
    else if (this.protocol === UDP) portClass = PORT_CLASS_UDP;
    const index = this.direction * PORT_CLASSES + portClass;
    const list = this.listOf(index, port);
    this.narrow = list >>> 8;
    this.narrowEnd = this.narrow + (list & 0xff);
    if (list === LIST_SEARCHED) {
      const segment = this.segmentOf(index, port);
      this.narrow = snapshot.segmentRuleStart[segment];
      this.narrowEnd = snapshot.segmentRuleStart[segment + 1];
    }
    this.wide = snapshot.indexWideStart[index];
    this.wideEnd = snapshot.indexWideStart[index + 1];
    this.isOtherClass = portClass === PORT_CLASS_OTHER ? 1 : 0;
    this.wantedEnd = this.peer < 0 ? FILTER_OUTSIDE : 1 << (this.peer & 15);
    const isAppKnown = this.tag !== TAG_UNKNOWN && this.quick === 0 && this.peer >= 0;
    this.wantedApp = isAppKnown ? this.tag : FILTER_APP_ANY;
    this.decidedCount = 0;
    this.walk = (this.walk + 1) >>> 0;
    if (this.walk !== 0) return;
    this.decidedInWalk.fill(0);
    this.walk = 1;
  }

  /** The next rule of both lists, in order, that is for this protocol and port; -1 at the end. */
  private nextRule(): number {
    const { segmentRules, wideRules } = this.snapshot;
    while (this.narrow < this.narrowEnd || this.wide < this.wideEnd) {
      const narrowAt = this.narrow * ENTRY_WORDS;
      const wideAt = this.wide * ENTRY_WORDS;
      const narrowRule = this.narrow < this.narrowEnd ? segmentRules[narrowAt] : VALUE_RULE;
      const wideRule = this.wide < this.wideEnd ? wideRules[wideAt] : VALUE_RULE;
      if (narrowRule < wideRule) {
        this.narrow++;
        // Segments are cut where rules' ports begin and end: those of a segment hold its ports.
        if (this.passes(segmentRules[narrowAt + 1])) return narrowRule;
        continue;
      }
      this.wide++;
      if (!this.passes(wideRules[wideAt + 1])) continue;
      if (this.isOtherClass === 1 && !this.protocolFits(wideRule)) continue;
      if (this.portFits(wideRule)) return wideRule;
    }
    return -1;
  }

  private passes(filter: number): boolean {
    if ((filter & this.wantedEnd) === 0) return false;
    const named = filter >>> FILTER_APP_SHIFT;
    const app = this.wantedApp;
    return app === FILTER_APP_ANY || named === FILTER_APP_ANY || named === app;
  }

  /** An allow rule after which no later rule can apply, whatever the application. */
  private isCertain(rule: number): boolean {
    return this.peer < 0 || this.quick === 1 || this.snapshot.ruleApp[rule] === APP_ANY;
  }

  private decideInWalk(tag: number): void {
    if (this.decidedInWalk[tag] === this.walk) return;
    this.decidedInWalk[tag] = this.walk;
    this.decidedCount++;
  }

  /** The rules that may apply to `port`: first entry << 8 | entries, or LIST_SEARCHED. */
  private listOf(index: number, port: number): number {
    const table = this.snapshot.indexTable[index];
    return table === 0 ? LIST_SEARCHED : this.snapshot.portLists[table - 1 + port];
  }

  /** The segment of an index that holds `port` (binary search). */
  private segmentOf(index: number, port: number): number {
    const snapshot = this.snapshot;
    let low = snapshot.indexSegmentStart[index];
    let high = snapshot.indexSegmentStart[index + 1] - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (snapshot.segmentPort[middle] <= port) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  private protocolFits(rule: number): boolean {
    const set = this.snapshot.ruleProtocolSet[rule] * PROTOCOL_SET_WORDS;
    const bits = this.snapshot.protocolSets[set + (this.protocol >>> 5)];
    return ((bits >>> (this.protocol & 31)) & 1) === 1;
  }

  /** How a rule for this protocol and port bears on the question. */
  private bearingOf(rule: number): number {
    const snapshot = this.snapshot;
    if (!this.partyFits(rule)) return NO_MATCH;
    const allows = snapshot.ruleAction[rule] === ACTION_ALLOW;
    const app = snapshot.ruleApp[rule];
    if (this.peer < 0) {
      if (app !== APP_ANY) return NO_MATCH;
      const letsIn = allows && this.direction === DIRECTION_IN;
      return letsIn && snapshot.ruleParty[rule] === PARTY_ANY ? NO_MATCH : MATCH;
    }
    if (!allows) {
      if (app === APP_ANY || app === this.tag) return MATCH;
      return this.tag === TAG_UNKNOWN ? DENIES_APP : NO_MATCH;
    }
    if (this.quick === 1) return MATCH;
    if (this.tag === TAG_UNKNOWN) {
      if (app === APP_ANY) {
        return this.decidedCount < this.setting(SETTING_TAGS) - 1 ? MATCH : NO_MATCH;
      }
      return this.decidedInWalk[app] === this.walk ? NO_MATCH : MATCH;
    }
    if (app === APP_ANY) return this.tag > 0 ? MATCH : NO_MATCH;
    return app === this.tag ? MATCH : NO_MATCH;
  }

  private portFits(rule: number): boolean {
    const snapshot = this.snapshot;
    const start = snapshot.rulePortStart[rule];
    const end = snapshot.rulePortStart[rule + 1];
    if (start === end) return true;
    const hasPort = this.protocol === TCP || this.protocol === UDP || this.portsOf(this.protocol);
    if (!hasPort) return false;
    for (let i = start; i < end; i++) {
      const range = snapshot.ports[i];
      if (this.port >= range >>> 16 && this.port <= (range & 0xffff)) return true;
    }
    return false;
  }

  private partyFits(rule: number): boolean {
    const snapshot = this.snapshot;
    const party = snapshot.ruleParty[rule];
    if (party === PARTY_ANY) return true;
    if (party === PARTY_PEERS) {
      if (this.peer < 0) return false;
      const row = snapshot.rulePeerSet[rule] * this.setting(SETTING_PEER_SET_WORDS);
      const bits = snapshot.peerSets[row + (this.peer >>> 5)];
      return ((bits >>> (this.peer & 31)) & 1) === 1;
    }
    const end = snapshot.ruleRangeStart[rule + 1];
    for (let i = snapshot.ruleRangeStart[rule]; i < end; i++) {
      if (this.rangeHolds(snapshot.ranges, i * RANGE_WORDS)) return true;
    }
    return false;
  }

  /** Whether the remote address lies in the range at `at`. */
  private rangeHolds(ranges: Uint32Array, at: number): boolean {
    return rangeHolds(
      ranges,
      at,
      this.ipVersion,
      this.address0,
      this.address1,
      this.address2,
      this.address3,
    );
  }

  private defaultFor(): number {
    if (this.peer < 0) {
      if (this.direction === DIRECTION_IN) return RULE_DEFAULT_OUTSIDE;
      if (this.isMulticast()) return RULE_DEFAULT_MULTICAST;
      const tenants = this.snapshot.otherTenants;
      for (let at = 0; at < tenants.length; at += RANGE_WORDS) {
        if (this.rangeHolds(tenants, at)) return RULE_DEFAULT_OTHER_TENANT;
      }
      const allow = this.setting(SETTING_NON_INTER_VM) === ACTION_ALLOW ? VALUE_ALLOW : 0;
      return RULE_DEFAULT_NON_INTER_VM | allow;
    }
    const inbound = this.direction === DIRECTION_IN;
    const rule = inbound ? RULE_DEFAULT_INBOUND : RULE_DEFAULT_OUTBOUND;
    if (this.setting(inbound ? SETTING_INBOUND : SETTING_OUTBOUND) === ACTION_DENY) return rule;
    if (this.quick === 1 || this.tag > 0) return rule | VALUE_ALLOW;
    const open = this.tag === TAG_UNKNOWN && this.decidedCount < this.setting(SETTING_TAGS) - 1;
    return open ? rule | VALUE_ALLOW : RULE_DEFAULT_TAG_REQUIRED;
  }

  /** Multicast, or IPv4's limited broadcast. A subnet's own broadcast is the caller's to know. */
  private isMulticast(): boolean {
    if (this.ipVersion === 6) return this.address0 >>> 24 === 0xff;
    return this.address3 >>> 28 === 14 || this.address3 === 0xffff_ffff;
  }
}
