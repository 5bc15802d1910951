/**
 * Giving an interface of the VM's namespace its settings, addresses, routes and neighbours: the
 * inside one when the outside is taken over, the outside one when it comes back. Touches only what
 * differs, so it can finish what a killed process began.
 */
import { applyAddresses, isIpv4, isTentative, readAddresses } from "./addresses.ts";
import { applySettings, finishSettings, type InterfaceSettings } from "./interface-settings.ts";
import { setLink } from "./links.ts";
import type { Namespace } from "./namespaces.ts";
import { applyNeighbours } from "./neighbours.ts";
import { applyRoutes } from "./routes.ts";
import { ageSeconds, type Configuration } from "./state-file.ts";

/** Addresses without duplicate detection are ready within a scheduler turn of the kernel. */
const ADDRESSES_READY_MS = 500;

/** The points at which a test may kill the process; in the order of the plan. */
export type Step =
  | "namespace-made"
  | "state-saved"
  | "guard-started"
  | "outside-moved"
  | "outside-quiet"
  | "inside-made"
  | "settings"
  | "addresses"
  | "routes"
  | "neighbours"
  | "taken"
  | "restoring"
  | "inside-removed"
  | "outside-returned"
  | "offloads-restored"
  | "outside-settings"
  | "outside-addresses"
  | "outside-routes"
  | "outside-neighbours"
  | "namespace-removed"
  | "state-removed";

export type AfterStep = (step: Step) => void;

export type Target = { readonly index: number; readonly name: string };

/** Names of the steps on the way in and on the way back. */
const STEPS = {
  inside: ["settings", "addresses", "routes", "neighbours"],
  outside: ["outside-settings", "outside-addresses", "outside-routes", "outside-neighbours"],
} as const;

/**
 * Configures `target` and brings it up (or leaves it down). Returns sentences about settings that
 * could not be made the same.
 */
export function configureInterface(
  vm: Namespace,
  target: Target,
  wanted: {
    readonly side: "inside" | "outside";
    readonly up: boolean;
    readonly settings: InterfaceSettings;
    readonly configuration: Configuration;
  },
  afterStep: AfterStep,
): string[] {
  const { settings, configuration } = wanted;
  const [settingsStep, addressesStep, routesStep, neighboursStep] = STEPS[wanted.side];
  const elapsed = ageSeconds(configuration);
  const problems = vm.run(() => applySettings(target.name, settings));
  setLink(vm.netlink, `bringing ${target.name} up`, target.index, { up: wanted.up });
  afterStep(settingsStep);
  // An interface that is down keeps no IPv6 addresses: that would be the kernel's own choice.
  const addresses = configuration.addresses.filter((record) => wanted.up || isIpv4(record));
  applyAddresses(vm.netlink, target, addresses, elapsed);
  afterStep(addressesStep);
  if (wanted.up) {
    waitForAddresses(vm, target);
    applyRoutes(vm.netlink, target.index, configuration.routes, elapsed);
    afterStep(routesStep);
    applyNeighbours(vm.netlink, target.index, configuration.neighbours);
    afterStep(neighboursStep);
  }
  problems.push(...vm.run(() => finishSettings(target.name, settings)));
  return problems;
}

/** The kernel readies IPv6 addresses in a work queue; a route's `src` must be ready before it. */
function waitForAddresses(vm: Namespace, target: Target): void {
  const deadline = performance.now() + ADDRESSES_READY_MS;
  while (performance.now() < deadline) {
    const addresses = readAddresses(vm.netlink, target.index, target.name);
    if (!addresses.some(isTentative)) return;
    Bun.sleepSync(1);
  }
}
