/** Answers of `/session`: who is logged in, and until when. docs/api.md "Sessions". */
import { type Static, Type } from "typebox";
import { adminRole, count, said } from "./answer-values.ts";

const csrfToken = said("for X-CSRF-Token");
const expiresAt = count("end of the session, seconds since 1970");

export const sessionOpened = Type.Object({
  account: said("name"),
  csrf_token: csrfToken,
  expires_at: expiresAt,
});
export type SessionOpened = Static<typeof sessionOpened>;

export const sessionShown = Type.Object({
  who: said("`account NAME`, `administrator NAME`, or `local`"),
  role: adminRole,
  csrf_token: Type.Optional(csrfToken),
  expires_at: Type.Optional(expiresAt),
});
export type SessionShown = Static<typeof sessionShown>;

export const sessionClosed = Type.Object({});
