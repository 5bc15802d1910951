/**
 * The steps of a take-over, in the order takeover.ts calls them. Each looks at what is there and
 * does what is missing: the same steps begin afresh and resume what a killed agent left. The state
 * file is on disk before the first change, so restore.ts can undo from any point.
 */
import { AbsError } from "../errors.ts";
import { readAddresses } from "./addresses.ts";
import type { AfterStep } from "./configure.ts";
import { configureInterface } from "./configure.ts";
import { addVethPair, findLink, type Link, listLinks, setLink } from "./links.ts";
import type { Namespace } from "./namespaces.ts";
import { readSetting } from "./namespaces.ts";
import { leavesWorkUndone, mergesPackets, turnOff } from "./offloads.ts";
import {
  findOutside,
  insideMtuOf,
  readConfiguration,
  recordOutside,
  warningsFor,
} from "./preflight.ts";
import type { Leftover } from "./recovery.ts";
import { FAR_NAME, findInside, insideAlias, removeInside } from "./restore.ts";
import { currentBootId, type InsideSpec, type OnStop, type TakeoverState } from "./state-file.ts";

/** The TAP of a killed agent may take a moment to go. */
const NAME_FREE_MS = 1_000;

export type Wish = {
  readonly inside: InsideSpec;
  readonly outside: string;
  readonly onStop: OnStop;
  readonly mtuReductionBytes: number;
};

/** What is to be done: a state to save and what it means for the inside interface. */
export type Intent = {
  readonly state: TakeoverState;
  /** An earlier take-over goes on. */
  readonly resumes: boolean;
  /** The inside interface of the earlier run still carries everything. */
  readonly insideStands: boolean;
  readonly warnings: readonly string[];
};

/** Looks at the machine as nobody has changed it yet. */
export function intentAfresh(wish: Wish, vm: Namespace, privateId: string): Intent {
  const link = findOutside(vm, wish.outside);
  const configuration = readConfiguration(vm, link);
  insideMtuOf(link.mtu, wish.mtuReductionBytes, configuration); // refuses before any change
  const state: TakeoverState = {
    version: 1,
    bootId: currentBootId(),
    phase: "taking",
    onStop: wish.onStop,
    vmNamespace: vm.id,
    privateNamespace: privateId,
    outside: recordOutside(vm, link),
    inside: wish.inside,
    configuration,
  };
  return {
    state,
    resumes: false,
    insideStands: false,
    warnings: warningsFor(vm, link, configuration),
  };
}

/** Goes on from what an earlier agent left; the inside interface knows best what the VM has now. */
export function intentResumed(
  wish: Wish,
  vm: Namespace,
  leftover: Leftover,
  privateId: string,
): Intent {
  const { state: before, privateNamespace } = leftover;
  const inside = findInside(vm, privateNamespace, before);
  const trusted = before.phase === "taken" && inside !== undefined && inside.up;
  const configuration = trusted ? readConfiguration(vm, inside) : before.configuration;
  const same = before.inside.kind === wish.inside.kind && before.inside.name === wish.inside.name;
  const insideStands = trusted && same && wish.inside.kind === "veth";
  if (!insideStands) removeInside(before, vm, privateNamespace);
  const state: TakeoverState = {
    ...before,
    phase: insideStands ? "taken" : "taking",
    onStop: wish.onStop,
    privateNamespace: privateId,
    inside: wish.inside,
    configuration,
  };
  return { state, resumes: true, insideStands, warnings: [] };
}

/** Moves the outside interface into the private namespace and makes it deliver single packets. */
export function moveOutside(
  state: TakeoverState,
  vm: Namespace,
  privateNamespace: Namespace,
  afterStep: AfterStep,
): Link {
  const { name, mac } = state.outside;
  if (findLink(privateNamespace.netlink, name)?.mac !== mac) {
    const link = findOutside(vm, name);
    setLink(vm.netlink, `moving ${name} into the private namespace`, link.index, {
      namespace: privateNamespace.descriptor,
    });
  }
  afterStep("outside-moved");
  const moved = findLink(privateNamespace.netlink, name);
  if (moved === undefined) throw isolationFailed(`${name} is not in the private namespace`);
  turnOff(privateNamespace.control, name, mergesPackets);
  setLink(privateNamespace.netlink, `bringing ${name} up`, moved.index, { up: true });
  afterStep("outside-quiet");
  return moved;
}

/** Makes the inside interface, with nothing on it yet; `createTap` is the caller's for a TAP. */
export function makeInside(
  state: TakeoverState,
  vm: Namespace,
  privateNamespace: Namespace,
  createTap: (() => void) | undefined,
): Link {
  const { inside, outside } = state;
  awaitFreeName(vm, inside.name);
  if (inside.kind === "veth") {
    addVethPair(privateNamespace.netlink, {
      nearName: FAR_NAME,
      // Not the outside interface's number: that one it must find free when it goes back and forth.
      nearIndex: outside.index + 1,
      farName: inside.name,
      farNamespace: vm.descriptor,
    });
  } else {
    createTap?.();
  }
  const link = findLink(vm.netlink, inside.name);
  if (link === undefined) {
    throw new AbsError(
      "INSIDE_MISSING",
      `The inside interface ${inside.name} was not made in the VM's namespace.`,
      "Check that /dev/net/tun can be opened (a TAP needs it), or use `--inside veth:NAME`.",
    );
  }
  setLink(vm.netlink, `preparing ${inside.name}`, link.index, {
    alias: insideAlias(outside.name),
    mac: outside.mac,
  });
  return link;
}

function awaitFreeName(vm: Namespace, name: string): void {
  const deadline = performance.now() + NAME_FREE_MS;
  while (findLink(vm.netlink, name) !== undefined) {
    if (performance.now() > deadline) {
      throw new AbsError(
        "INSIDE_EXISTS",
        `There is an interface ${name} already, and it is not the agent's.`,
        "Choose another name for `--inside`, or delete that interface.",
      );
    }
    Bun.sleepSync(5);
  }
}

/** MTU and offloads of the inside interface and its far end; both ends go up. */
export function prepareInside(
  state: TakeoverState,
  vm: Namespace,
  privateNamespace: Namespace,
  mtu: { readonly outside: number; readonly inside: number },
): void {
  const { inside } = state;
  const link = findLink(vm.netlink, inside.name);
  if (link === undefined) throw isolationFailed(`${inside.name} has gone`);
  turnOff(vm.control, inside.name, leavesWorkUndone);
  if (link.mtu !== mtu.inside) {
    setLink(vm.netlink, `setting the MTU of ${inside.name}`, link.index, { mtu: mtu.inside });
  }
  if (inside.kind !== "veth") return;
  const far = findLink(privateNamespace.netlink, FAR_NAME);
  if (far === undefined) throw isolationFailed(`the far end of ${inside.name} has gone`);
  turnOff(privateNamespace.control, FAR_NAME, mergesPackets);
  setLink(privateNamespace.netlink, `preparing ${FAR_NAME}`, far.index, {
    mtu: mtu.outside,
    up: true,
  });
}

/** Puts settings, addresses, routes and neighbours on the inside interface. */
export function configureInside(
  state: TakeoverState,
  vm: Namespace,
  link: Link,
  afterStep: AfterStep,
): string[] {
  const { settings } = state.outside;
  const { configuration } = state;
  const wanted = { side: "inside", up: true, settings, configuration } as const;
  return configureInterface(vm, link, wanted, afterStep);
}

/** Refuses to go on unless the way around the agent is closed. */
export function verifyIsolation(
  state: TakeoverState,
  vm: Namespace,
  privateNamespace: Namespace,
): void {
  const { outside, inside } = state;
  const twin = listLinks(vm.netlink).find(
    (link) => link.mac === outside.mac && link.name !== inside.name && link.master === undefined,
  );
  if (twin !== undefined) throw isolationFailed(`${twin.name} still has the VM's MAC address`);
  for (const link of listLinks(privateNamespace.netlink)) {
    const { netlink } = privateNamespace;
    if (readAddresses(netlink, link.index, link.name).length > 0) {
      throw isolationFailed(`${link.name} in the private namespace has an address`);
    }
    const disabled = privateNamespace.run(() => readSetting(`ipv6/conf/${link.name}/disable_ipv6`));
    if (disabled === "0" && !link.loopback) {
      throw isolationFailed(`IPv6 is on at ${link.name} in the private namespace`);
    }
  }
}

export function isolationFailed(why: string): AbsError {
  return new AbsError(
    "ISOLATION",
    `The way around the agent cannot be closed: ${why}.`,
    "The agent does not start without that. Look for another program that manages this interface.",
  );
}
