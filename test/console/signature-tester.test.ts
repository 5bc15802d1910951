/** A capture on the page Signatures: dropped, chosen by keyboard, refused. docs/console.md. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import type { Look } from "./console-browser.ts";
import { ConsoleSite } from "./console-site.ts";

const CAPTURES = join(import.meta.dir, "../captures");
const SHELL = {
  ...{ sig_id: "shell", app_name: "shell", version: 4, status: "enabled", proto_type: "tcp" },
  contents: [{ offset: 0, depth: 4, expr: "SSH-", direction: "response" }],
};
const WEB = {
  ...{ sig_id: "web", app_name: "web", version: 1, status: "enabled", proto_type: "tcp" },
  contents: [{ offset: 0, depth: 4, expr: "GET " }],
};
let site: ConsoleSite;

beforeAll(async () => {
  site = await ConsoleSite.open();
  await site.ask(["sig", "add", "--tenant", "t1"], JSON.stringify([SHELL]));
}, 60_000);

afterAll(async () => {
  const faults = site.browser.faults();
  await site.close();
  expect(faults).toEqual([]);
});

async function opened(look: Look = {}): Promise<Page> {
  const page = await site.browser.signedIn("operator", look);
  await site.browser.visit(page, "signatures");
  return page;
}

/** What the browser does when somebody lets go of files over the page. */
async function drop(page: Page, files: Readonly<Record<string, Buffer>>): Promise<void> {
  const given = Object.entries(files).map(([name, bytes]) => [name, bytes.toString("base64")]);
  const dataTransfer = await page.evaluateHandle(`(() => {
    const carried = new DataTransfer();
    for (const [name, text] of ${JSON.stringify(given)}) {
      const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      carried.items.add(new File([bytes], name));
    }
    return carried;
  })()`);
  const main = page.locator("main");
  await main.dispatchEvent("dragover", { dataTransfer });
  await page.locator(".drop.over").waitFor();
  await main.dispatchEvent("drop", { dataTransfer });
}

test.each([1280, 390])("a dropped capture is told flow by flow, %p wide", async (width) => {
  const page = await opened({ width });
  await drop(page, { "ssh.pcap": readFileSync(join(CAPTURES, "ssh.pcap")) });
  // On a narrow page it is a card, and no row by its role.
  const row = page.locator("tr").filter({ hasText: "10.77.0.2:47852" });
  await row.waitFor();
  const cells = await row.locator("td").allTextContents();
  expect(cells.slice(0, 6)).toEqual([
    ...["10.77.0.2:47852", "10.77.0.1:22", "tcp", "12", "shell"],
    "shell version 4, bytes 0 to 3 of the response",
  ]);
  const status = page.getByRole("status").filter({ hasText: "ssh.pcap" });
  expect(await status.textContent()).toBe(
    "ssh.pcap: 7 of 7 flows have an application; 80 packets, judged by 1 signature.",
  );
  expect(await page.locator(".drop.over").count()).toBe(0);
  expect(await site.browser.axeFaults(page)).toEqual([]);
  await page.emulateMedia({ colorScheme: "dark" });
  expect(await site.browser.axeFaults(page, ["color-contrast"])).toEqual([]);
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(width);
});

test("with the keyboard: choose a capture, type a signature, test again", async () => {
  const page = await opened();
  page.on("filechooser", (chooser) => void chooser.setFiles(join(CAPTURES, "http.pcap")));
  await page.getByLabel("Capture", { exact: true }).focus();
  await page.keyboard.press("Enter");
  await page.getByText("http.pcap: 0 of 12 flows have an application").waitFor();
  await page
    .getByRole("row", { name: /unknown no signature matches/ })
    .first()
    .waitFor();
  await page.locator("summary").focus();
  await page.keyboard.press("Enter");
  await page.getByLabel(/^Signature or list/).focus();
  await page.keyboard.insertText(JSON.stringify(WEB));
  await page.getByRole("button", { name: "Test again" }).focus();
  await page.keyboard.press("Enter");
  await page
    .getByRole("row", { name: /web web version 1, bytes 0 to 3 of the request/ })
    .first()
    .waitFor();
  await page.getByRole("status").filter({ hasText: "judged by 2 signatures" }).waitFor();
  expect(await site.browser.axeFaults(page)).toEqual([]);
  await page.getByLabel(/^Signature or list/).fill("sig_id: [");
  await page.getByRole("button", { name: "Test again" }).click();
  await page.getByRole("alert").filter({ hasText: "input:1:" }).waitFor();
});

const refused: readonly (readonly [string, Readonly<Record<string, Buffer>>, string])[] = [
  ["what is no capture", { "a.txt": Buffer.from("hello, hello") }, "no capture format"],
  ["too large a one", { "big.pcap": Buffer.alloc(8 * 1024 * 1024 + 1) }, "big.pcap has 9 MiB"],
  ["two at once", { a: Buffer.alloc(1), b: Buffer.alloc(1) }, "One capture is tested at a time."],
];
test.each(refused)("refused with words: %s", async (_, files, words) => {
  const page = await opened();
  await drop(page, files);
  await page.getByRole("alert").filter({ hasText: words }).waitFor();
  expect(await site.browser.axeFaults(page)).toEqual([]);
});

test("a viewer is not offered it", async () => {
  const page = await site.browser.signedIn("viewer");
  await site.browser.visit(page, "signatures");
  expect(await page.getByRole("region", { name: "Signatures of t1" }).count()).toBe(1);
  expect(await page.getByLabel("Capture", { exact: true }).count()).toBe(0);
});
