/**
 * Giving the outside interface back to the VM: inside removed, interface out of the private
 * namespace, offloads, settings, addresses, routes and neighbours as they were (or as they have
 * been changed since). Every step looks at what is there and does what is missing, so the agent,
 * the guard and the next start all call it, after a kill at any point.
 */
import { existsSync } from "node:fs";
import { AbsError } from "../errors.ts";
import { type AfterStep, configureInterface } from "./configure.ts";
import { isErrno } from "./libc.ts";
import { deleteLink, findLink, type Link, setLink } from "./links.ts";
import { type Namespace, removePrivateNamespace } from "./namespaces.ts";
import { turnOn } from "./offloads.ts";
import { readConfiguration } from "./preflight.ts";
import { namespacePath, removeState, saveState, type TakeoverState } from "./state-file.ts";

/** The far end of an inside veth, in the private namespace. */
export const FAR_NAME = "abs-far";
/** A TAP goes with its process; a killed one may take a moment to go. */
const TAP_GONE_MS = 1_000;

/** The mark by which an inside interface is known as ours. */
export function insideAlias(outsideName: string): string {
  return `abs: inside of ${outsideName}`;
}

/** The inside interface that `state` speaks of, if it exists and is ours. */
export function findInside(
  vm: Namespace,
  privateNamespace: Namespace | undefined,
  state: TakeoverState,
): Link | undefined {
  const link = findLink(vm.netlink, state.inside.name);
  if (link === undefined) return undefined;
  if (link.alias === insideAlias(state.outside.name)) return link;
  // Killed before the mark was set: a veth is ours when its other end is our far end.
  if (state.inside.kind !== "veth" || privateNamespace === undefined) return undefined;
  const far = findLink(privateNamespace.netlink, FAR_NAME);
  return far?.below === link.index ? link : undefined;
}

/**
 * Restores the VM's own interface and removes every trace. `privateNamespace` is undefined when it
 * is gone, as after a kill that took its last holder.
 */
export function restoreOutside(
  stateDir: string,
  found: TakeoverState,
  vm: Namespace,
  privateNamespace: Namespace | undefined,
  afterStep: AfterStep,
): string[] {
  const state = withLatestConfiguration(found, vm, privateNamespace);
  // The folder is gone when somebody removed it under us: then memory must do.
  if (existsSync(stateDir)) saveState(stateDir, { ...state, phase: "restoring" });
  afterStep("restoring");
  removeInside(state, vm, privateNamespace);
  afterStep("inside-removed");
  const problems: string[] = [];
  const { outside } = state;
  const away =
    privateNamespace === undefined ? undefined : findLink(privateNamespace.netlink, outside.name);
  if (away !== undefined && privateNamespace !== undefined) moveBack(privateNamespace, vm, away);
  const link = findLink(vm.netlink, outside.name);
  if (link === undefined || link.mac !== outside.mac) throw outsideGone(state);
  afterStep("outside-returned");
  for (const name of turnOn(vm.control, outside.name, outside.offloads)) {
    problems.push(`${name} of ${outside.name} could not be turned on again.`);
  }
  afterStep("offloads-restored");
  const { settings, promiscuous } = outside;
  setLink(vm.netlink, `making ${outside.name} hear what it did`, link.index, { promiscuous });
  const wanted = { side: "outside", up: outside.up, settings } as const;
  const { configuration } = state;
  problems.push(...configureInterface(vm, link, { ...wanted, configuration }, afterStep));
  if (existsSync(stateDir)) {
    removePrivateNamespace(namespacePath(stateDir));
    afterStep("namespace-removed");
    removeState(stateDir);
    afterStep("state-removed");
  }
  return problems;
}

/** While the take-over was whole, the inside interface knows best what the VM has now. */
function withLatestConfiguration(
  state: TakeoverState,
  vm: Namespace,
  privateNamespace: Namespace | undefined,
): TakeoverState {
  if (state.phase !== "taken") return state;
  const inside = findInside(vm, privateNamespace, state);
  // Taken down, it has lost its routes: then the file knows better.
  if (inside === undefined || !inside.up) return state;
  return { ...state, configuration: readConfiguration(vm, inside) };
}

export function removeInside(
  state: TakeoverState,
  vm: Namespace,
  privateNamespace: Namespace | undefined,
): void {
  const far =
    privateNamespace === undefined ? undefined : findLink(privateNamespace.netlink, FAR_NAME);
  if (far !== undefined && privateNamespace !== undefined) {
    deleteLink(privateNamespace.netlink, far);
  }
  const inside = findInside(vm, privateNamespace, state);
  if (inside === undefined) return;
  deleteLink(vm.netlink, inside);
  const deadline = performance.now() + TAP_GONE_MS;
  while (findLink(vm.netlink, state.inside.name) !== undefined && performance.now() < deadline) {
    Bun.sleepSync(5);
  }
}

function moveBack(privateNamespace: Namespace, vm: Namespace, link: Link): void {
  try {
    setLink(privateNamespace.netlink, `returning ${link.name} to the VM`, link.index, {
      namespace: vm.descriptor,
    });
  } catch (thrown) {
    if (!isErrno(thrown, "EEXIST")) throw thrown;
    throw new AbsError(
      "NAME_TAKEN",
      `${link.name} cannot come back: another interface has its name now.`,
      `Rename or delete that one, then run \`abs agent restore\` with the same \`--state\`.`,
      thrown,
    );
  }
}

function outsideGone(state: TakeoverState): AbsError {
  const { name, mac } = state.outside;
  return new AbsError(
    "OUTSIDE_GONE",
    `${name} (${mac}) is neither in the VM's namespace nor in the private one: it was unplugged, ` +
      "or its namespace ended with the last process that held it.",
    "Plug it in again (or make it anew), then start the agent.",
  );
}
