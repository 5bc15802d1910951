/** Answers about accounts of the HTTP API and their tokens. */
import { Type } from "typebox";
import { adminRole, count, hex, list, moment, said } from "./answer-values.ts";

const accountName = said("name of the account");
const tokenId = hex("id of the token; it opens nothing");
const expires = moment("from when on the token opens nothing any more");

export const accountAdded = Type.Object({ name: accountName, role: adminRole });

const accountRow = Type.Object({
  name: accountName,
  role: adminRole,
  made: moment("when it was made"),
  password: moment("when its password was changed last"),
  tokens: count("how many it has"),
});

export const accountRows = list(accountRow, "by name");

export const accountRemoved = Type.Object({ removed: accountName });
export const passwordSet = Type.Object({ name: accountName });

export const tokenCreated = Type.Object({
  name: accountName,
  role: adminRole,
  id: tokenId,
  token: said("the token itself: it is shown this once"),
  expires,
});

const tokenRow = Type.Object({
  id: tokenId,
  role: adminRole,
  label: said("what it is for; `-`: nobody has said"),
  expires,
  used: moment("when it was used last, to the minute"),
});

export const tokenRows = list(tokenRow, "what expires first comes first");

export const tokenRevoked = Type.Object({ revoked: tokenId });
