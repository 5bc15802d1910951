/** Commands about accounts of the HTTP API and their tokens. docs/api.md "Accounts". */
import { Type } from "typebox";
import {
  accountAdded,
  accountRemoved,
  accountRows,
  passwordSet,
  tokenCreated,
  tokenRevoked,
  tokenRows,
} from "../answers/accounts.ts";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";
import { hashPassword } from "./accounts.ts";
import { adminCommand } from "./admin-command.ts";
import { ADMIN_ROLES } from "./administrators.ts";
import { lesserRole } from "./api-tokens.ts";
import {
  choice,
  duration,
  durationSeconds,
  named,
  password,
  reference,
  text,
} from "./command-schemas.ts";
import { tableText, timeText } from "./command-values.ts";

/** A token that nobody remembers any more should be found, some day, to be of no use. */
const TOKEN_SECONDS_MAX = 366 * 86_400;

const accountName = reference("of the account");
const onStandardInput = { property: "password" };

const add = adminCommand({
  name: "account add",
  description: "an account of the HTTP API; its password comes on standard input",
  role: "administrator",
  words: ["name"],
  standardInput: onStandardInput,
  http: { method: "POST", path: "/accounts" },
  input: {
    name: named("what it logs in as"),
    role: choice(ADMIN_ROLES),
    password: password("what it logs in with"),
  },
  answer: accountAdded,
  async run({ name, role, password: given }, { state }) {
    const hash = await hashPassword(given);
    state.accounts.add({ name, role }, hash, state.now());
    return { value: { name, role }, text: `${name} (${role})` };
  },
});

const list = adminCommand({
  name: "account list",
  description: "all accounts of the HTTP API",
  role: "viewer",
  http: { method: "GET", path: "/accounts" },
  input: {},
  answer: accountRows,
  run(_input, { state }) {
    const rows = state.accounts.list().map(({ name, role, madeAt, changedAt }) => ({
      ...{ name, role, made: timeText(madeAt), password: timeText(changedAt) },
      tokens: state.tokens.list(name).length,
    }));
    return { value: rows, text: tableText(rows) };
  },
});

const remove = adminCommand({
  name: "account remove",
  description: "its password and tokens let nobody in any more",
  role: "administrator",
  words: ["name"],
  http: { method: "DELETE", path: "/accounts/{name}" },
  input: { name: accountName },
  answer: accountRemoved,
  run({ name }, { state, cutAccount }) {
    state.accounts.remove(name);
    cutAccount(name);
    return { value: { removed: name }, text: `${name} is removed` };
  },
});

const setPassword = adminCommand({
  name: "account password",
  description: "a new password, from standard input; who is logged in must do so again",
  role: "administrator",
  words: ["name"],
  standardInput: onStandardInput,
  http: { method: "PUT", path: "/accounts/{name}/password" },
  input: { name: accountName, password: password("the new one") },
  answer: passwordSet,
  async run({ name, password: given }, { state, cutAccount }) {
    state.accounts.need(name);
    const hash = await hashPassword(given);
    state.accounts.setPassword(name, hash, state.now());
    cutAccount(name);
    return { value: { name }, text: `${name} has a new password` };
  },
});

const tokenCreate = adminCommand({
  name: "account token create",
  description: "a token for programs; prints it and keeps it nowhere",
  role: "administrator",
  words: ["name"],
  http: { method: "POST", path: "/accounts/{name}/tokens" },
  input: {
    name: accountName,
    role: Type.Optional(choice(ADMIN_ROLES)),
    label: text("what it is for", "-"),
    expires: duration("how long it is good, at most 366d", "90d"),
  },
  answer: tokenCreated,
  run({ name, role, label, expires }, { state }) {
    const account = state.accounts.need(name);
    const granted = role ?? account.role;
    if (lesserRole(granted, account.role) !== granted) {
      const what = `${name} has the role ${account.role}: its token cannot have ${granted}.`;
      throw new AbsError("TOKEN_ROLE", what, `Use --role ${account.role}, or less.`);
    }
    const seconds = durationSeconds(expires);
    if (seconds > TOKEN_SECONDS_MAX) {
      throw new AbsError("TOKEN_TOO_LONG", `${expires} is too long.`, "At most 366d.");
    }
    const now = state.now();
    const expiresAt = (now + seconds) as EpochSeconds;
    const made = state.tokens.add({ account: name, role: granted, label, expiresAt }, now);
    const value = { name, role: granted, ...made, expires: timeText(expiresAt) };
    return { value, text: made.token };
  },
});

const tokenList = adminCommand({
  name: "account token list",
  description: "tokens of an account, without what they open with",
  role: "viewer",
  words: ["name"],
  http: { method: "GET", path: "/accounts/{name}/tokens" },
  input: { name: accountName },
  answer: tokenRows,
  run({ name }, { state }) {
    state.accounts.need(name);
    const rows = state.tokens.list(name).map(({ id, role, label, expiresAt, usedAt }) => ({
      ...{ id, role, label, expires: timeText(expiresAt), used: timeText(usedAt) },
    }));
    return { value: rows, text: tableText(rows) };
  },
});

const tokenRevoke = adminCommand({
  name: "account token revoke",
  description: "it lets nobody in any more",
  role: "administrator",
  words: ["name", "id"],
  http: { method: "DELETE", path: "/accounts/{name}/tokens/{id}" },
  input: { name: accountName, id: reference("of the token") },
  answer: tokenRevoked,
  run({ name, id }, { state, cutAccount }) {
    state.accounts.need(name);
    state.tokens.revoke(name, id);
    cutAccount(name);
    return { value: { revoked: id }, text: `${id} is revoked` };
  },
});

export const ACCOUNT_COMMANDS = [
  ...[add, list, remove, setPassword],
  ...[tokenCreate, tokenList, tokenRevoke],
];
