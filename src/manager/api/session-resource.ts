/** `/api/v1/session`: logging in with a password, who one is, logging out. docs/api.md. */
import { Type } from "typebox";
import { Value } from "typebox/value";
import type { SessionOpened, SessionShown } from "../../answers/session.ts";
import { answerResponse } from "./answers.ts";
import type { ApiRequest, Gatekeeper } from "./gatekeeper.ts";
import { ApiProblem } from "./problems.ts";
import { readJson } from "./request-body.ts";
import { methodUnknown } from "./routes.ts";

/** Loose: what is too long is wrong, and not told apart from what is wrong. */
export const loginSchema = Type.Object(
  {
    name: Type.String({ maxLength: 1000, description: "of the account" }),
    password: Type.String({ maxLength: 10_000, format: "password", writeOnly: true }),
  },
  { additionalProperties: false },
);

/** @throws ApiProblem of everything that can be wrong */
export async function answerSession(gatekeeper: Gatekeeper, asked: ApiRequest): Promise<Response> {
  const { request } = asked;
  if (request.method === "POST") return logIn(gatekeeper, asked);
  if (request.method === "GET") return describe(gatekeeper, asked);
  if (request.method !== "DELETE") {
    throw methodUnknown(request.method, ["GET", "POST", "DELETE"]);
  }
  gatekeeper.authenticate(asked);
  gatekeeper.logout(request);
  const response = answerResponse(request, { value: {}, text: "logged out" });
  response.headers.set("Set-Cookie", gatekeeper.cookieOf(undefined));
  return response;
}

async function logIn(gatekeeper: Gatekeeper, { request, address }: ApiRequest): Promise<Response> {
  gatekeeper.requireSameOrigin(request);
  const given = await readJson(request);
  if (!Value.Check(loginSchema, given)) {
    const remedy = "Send a JSON object with name and password.";
    throw new ApiProblem("REQUEST_WRONG", "The body has no name and password.", remedy);
  }
  const session = await gatekeeper.login(given.name, given.password, address ?? "local socket");
  const { account, csrfToken, expiresAt } = session;
  const value: SessionOpened = { account, csrf_token: csrfToken, expires_at: expiresAt };
  const response = answerResponse(request, { value, text: account });
  response.headers.set("Set-Cookie", gatekeeper.cookieOf(session));
  response.headers.set("Cache-Control", "no-store");
  return response;
}

function describe(gatekeeper: Gatekeeper, asked: ApiRequest): Response {
  const { who, role } = gatekeeper.authenticate(asked);
  const session = gatekeeper.session(asked.request);
  const value: SessionShown = {
    ...{ who, role },
    ...(session === undefined ? {} : { csrf_token: session.csrfToken }),
    ...(session === undefined ? {} : { expires_at: session.expiresAt }),
  };
  return answerResponse(asked.request, { value, text: `${who} (${role})` });
}
