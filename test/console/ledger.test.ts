/** The ledger's page: what the browser verifies is right, and what was altered is found out. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { waitFor } from "../../src/lab/command.ts";
import { ConsoleSite } from "./console-site.ts";

let site: ConsoleSite;

beforeAll(async () => {
  site = await ConsoleSite.open();
  const hasBlocks = async () => {
    return (await site.ask(["ledger", "blocks", "--tenant", "t1"])) === "none" ? undefined : true;
  };
  await waitFor("a block", hasBlocks, 30_000, 200);
}, 60_000);

afterAll(async () => {
  const faults = site.browser.faults();
  await site.close();
  expect(faults).toEqual([]);
});

test("a block's hash, roots and inclusion proofs are verified in the browser", async () => {
  const page = await site.browser.signedIn("viewer");
  await site.browser.visit(page, "ledger?block=1");
  await page.getByText("Checked by this browser:").waitFor();
  expect(await page.getByText("right", { exact: true }).count()).toBe(3);
  await page.getByRole("button", { name: "Verify" }).first().click();
  await page.getByText("included", { exact: true }).waitFor();
  expect(await site.browser.axeFaults(page)).toEqual([]);
});

test("an entry that the manager's proof does not lead to the root is not included", async () => {
  const page = await site.browser.signedIn("viewer");
  await page.route(/\/proofs\//, async (route) => {
    const answer = await route.fetch();
    const proof = (await answer.json()) as { readonly entry: string };
    await route.fulfill({ response: answer, json: { ...proof, entry: `${proof.entry} ` } });
  });
  await site.browser.visit(page, "ledger?block=1");
  await page.getByRole("button", { name: "Verify" }).first().click();
  await page.getByText("not included").waitFor();
});

test("a block that was altered on its way is called damaged", async () => {
  const page = await site.browser.signedIn("viewer");
  await page.route(/\/blocks\/1$/, async (route) => {
    const answer = await route.fetch();
    const block = (await answer.json()) as { readonly timestamp: number };
    await route.fulfill({ response: answer, json: { ...block, timestamp: block.timestamp + 1 } });
  });
  await site.browser.visit(page, "ledger?block=1");
  await page.getByText("The block is damaged: block_hash is not that of the header.").waitFor();
});

test("the whole chain is verified in the browser, and an altered vote is found", async () => {
  const page = await site.browser.signedIn("viewer", { width: 390 });
  await site.browser.visit(page, "ledger");
  const verify = page.getByRole("button", { name: "Verify the whole chain" });
  await verify.focus();
  await page.keyboard.press("Enter");
  const said = await page.getByText(/\d+ blocks?; the last is/).innerText();
  const [, count, hash] = /(\d+) blocks?; the last is (\w{16})/.exec(said) ?? [];
  const block = JSON.parse(await site.ask(["ledger", "show", count ?? "", "--tenant", "t1"]));
  expect(block.block_hash).toStartWith(hash ?? "");
  expect(await site.browser.axeFaults(page)).toEqual([]);
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(390);

  await page.route(/\/ledger\/export/, async (route) => {
    const answer = await route.fetch();
    const part = (await answer.json()) as { readonly lines: string[] };
    const altered = part.lines.map((line, height) =>
      height === 1 ? line.replace(/("block_signature":")(..)/, "$1ff") : line,
    );
    expect(altered).not.toEqual(part.lines);
    await route.fulfill({ response: answer, json: { ...part, lines: altered } });
  });
  await verify.click();
  await page.getByText(/At block 1: /).waitFor();
});
