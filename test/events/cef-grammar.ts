/**
 * Common Event Format, version 0, read as its document says ("Implementing Common Event Format"):
 * a header of seven fields where `\` and `|` are escaped, then `key=value` pairs between spaces,
 * where `\`, `=` and line ends are escaped. Keys, types and greatest lengths are those of its
 * extension dictionary, as far as we write them. For tests.
 */

type Key = "string" | "ipv4" | "ipv6" | "port" | "integer" | "time" | "direction";

const DICTIONARY: Readonly<Record<string, readonly [Key, number?]>> = {
  ...{ act: ["string", 63], app: ["string", 31], cat: ["string", 1023], msg: ["string", 1023] },
  ...{ c6a2: ["ipv6"], c6a2Label: ["string", 1023], c6a3: ["ipv6"], c6a3Label: ["string", 1023] },
  ...{ cn1: ["integer"], cn1Label: ["string", 1023], deviceDirection: ["direction"] },
  ...{ deviceProcessName: ["string", 1023], dpt: ["port"], spt: ["port"], dst: ["ipv4"] },
  ...{ dvchost: ["string", 100], externalId: ["string", 40], outcome: ["string", 63] },
  ...{ proto: ["string", 31], reason: ["string", 1023], rt: ["time"], src: ["ipv4"] },
  ...Object.fromEntries(
    [1, 2, 3, 4, 5, 6].flatMap((i) => [
      [`cs${i}`, ["string", 4000]],
      [`cs${i}Label`, ["string", 1023]],
    ]),
  ),
};

const CHECKS: Readonly<Record<Key, RegExp>> = {
  string: /^[\s\S]*$/,
  ipv4: /^\d{1,3}(\.\d{1,3}){3}$/,
  ipv6: /^[0-9a-f:.]*:[0-9a-f:.]*$/,
  port: /^\d{1,5}$/,
  integer: /^-?\d+$/,
  time: /^\d{13}$/,
  direction: /^[01]$/,
};

export type CefEvent = {
  readonly header: readonly string[];
  readonly keys: ReadonlyMap<string, string>;
};

/** @throws Error what is wrong with the line */
export function parseCef(line: string): CefEvent {
  if (/[\r\n]/.test(line)) throw new Error("more than one line");
  const head = /^CEF:0\|((?:(?:[^\\|]|\\[\\|])*\|){6})/.exec(line);
  if (head === null) throw new Error(`no header: ${line.slice(0, 80)}`);
  const fields = [...(head[1] ?? "").matchAll(/((?:[^\\|]|\\[\\|])*)\|/g)];
  const header = fields.map(([, field = ""]) => field.replace(/\\([\\|])/g, "$1"));
  if (header.some((field) => field === "")) throw new Error("an empty field of the header");
  if (!/^([0-9]|10)$/.test(header[5] ?? "")) throw new Error(`severity ${header[5]}`);
  return { header, keys: extension(line.slice(head[0].length)) };
}

function extension(text: string): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  const pair = /([A-Za-z0-9_]+)=((?:[^\\=]|\\[\\=nr])*?)(?= [A-Za-z0-9_]+=|$)/y;
  while (pair.lastIndex < text.length) {
    const at = pair.lastIndex;
    const found = pair.exec(text);
    if (found === null) throw new Error(`no pair: ${text.slice(at, at + 80)}`);
    const [, key = "", value = ""] = found;
    if (keys.has(key)) throw new Error(`${key} twice`);
    keys.set(key, check(key, value.replace(/\\([\\=nr])/g, unescaped)));
    if (pair.lastIndex < text.length) pair.lastIndex++;
  }
  for (const key of keys.keys()) {
    const isCustom = /^(cs|cn|c6a)\d$/.test(key);
    if (isCustom && !keys.has(`${key}Label`)) throw new Error(`${key} has no label`);
  }
  return keys;
}

function unescaped(_: string, letter: string): string {
  return letter === "n" ? "\n" : letter === "r" ? "\r" : letter;
}

function check(key: string, value: string): string {
  const [type, length = Number.MAX_SAFE_INTEGER] = DICTIONARY[key] ?? [];
  if (type === undefined) throw new Error(`${key} is not in the dictionary`);
  if (value.length > length) throw new Error(`${key} has ${value.length} of ${length} characters`);
  if (!CHECKS[type].test(value)) throw new Error(`${key} is no ${type}: ${value}`);
  if (type === "port" && Number(value) > 65_535) throw new Error(`${key} is no port: ${value}`);
  return value;
}
