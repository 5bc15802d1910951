/** The button that verifies a tenant's whole chain in this browser, and what came of it. */
import { useEffect, useState } from "preact/hooks";
import type { Verification } from "../chain/verify-chain.ts";
import { type Progress, verifyWholeChain } from "./chain-check.ts";
import { ProblemNote } from "./resource.tsx";
import { Badge, Command } from "./table.tsx";

export function WholeChain({ tenant }: { readonly tenant: string }) {
  const [running, setRunning] = useState<AbortController>();
  const [at, setAt] = useState<Progress>();
  const [found, setFound] = useState<Verification>();
  const [problem, setProblem] = useState<Error>();
  useEffect(() => () => running?.abort(), [running]);
  const start = () => {
    const controller = new AbortController();
    const { signal } = controller;
    setRunning(controller);
    setAt(undefined);
    setFound(undefined);
    setProblem(undefined);
    verifyWholeChain(tenant, { progress: setAt, signal })
      .then(setFound, (thrown: Error) => signal.aborted || setProblem(thrown))
      .finally(() => signal.aborted || setRunning(undefined));
  };
  return (
    <section class="card" aria-label="The whole chain">
      <h2>The whole chain</h2>
      <p>
        This browser recomputes it from its genesis file: every root, committee, quorum, random
        output and seal.
      </p>
      <button type="button" disabled={running !== undefined} onClick={start}>
        Verify the whole chain
      </button>
      <div role="status">
        {running !== undefined && <p>{at === undefined ? "Verifying…" : wordsOf(at)}</p>}
        {found !== undefined && <Found found={found} />}
      </div>
      {problem !== undefined && <ProblemNote problem={problem} />}
    </section>
  );
}

function wordsOf({ blocks, tip }: Progress): string {
  return `Verifying: block ${blocks} of ${tip}`;
}

function Found({ found }: { readonly found: Verification }) {
  if (!found.isValid) {
    const where = found.height < 0 ? "the genesis file" : `block ${found.height}`;
    return (
      <p>
        <Badge tone="bad">wrong</Badge> At {where}: {found.error}.
      </p>
    );
  }
  const { height, chainId, blockHash } = found.state;
  return (
    <>
      <p>
        <Badge tone="good">right</Badge> {height === 1 ? "1 block" : `${height} blocks`}; the last
        is <code>{blockHash.slice(0, 16)}…</code> of chain <code>{chainId}</code>.
      </p>
      <p>That it is the chain of your VMs, one of them can tell; compare the chain's id:</p>
      <Command>abs ledger status --dir /var/lib/abs/agent</Command>
    </>
  );
}
