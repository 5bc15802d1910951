/**
 * The API in OpenAPI 3.1, made from the table of commands: what checks a request is what describes
 * it. docs/api.md. JSON Schemas go in as they are, as 3.1 uses the same dialect.
 */
import type { TSchema } from "typebox";
import packageJson from "../../../package.json";
import { sessionClosed, sessionOpened, sessionShown } from "../../answers/session.ts";
import type { AdminCommand } from "../admin-command.ts";
import { ADMIN_COMMANDS } from "../admin-commands.ts";
import { isNeeded } from "../command-input.ts";
import { inputKind, type StandardInput } from "../standard-input.ts";
import { PROBLEM_MEDIA_TYPE, TITLES } from "./problems.ts";
import { API_PREFIX, EXPECT_VERSION } from "./routes.ts";
import { loginSchema } from "./session-resource.ts";

type Json = Record<string, unknown>;

let made: Json | undefined;

export function apiDescription(): Json {
  made ??= {
    openapi: "3.1.1",
    info: {
      title: "abs manager",
      version: packageJson.version,
      summary: "Everything that an administrator of Application-Based Security may do.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: API_PREFIX }],
    security: [{ token: [] }, { session: [] }],
    tags: tags(),
    paths: { ...commandPaths(), "/session": sessionPath(), "/events": eventsPath() },
    components: {
      schemas: { Problem: PROBLEM },
      responses: { Problem: problemResponse("what is wrong, and what to do") },
      securitySchemes: SECURITY,
    },
  };
  return made;
}

const SECURITY = {
  token: { type: "http", scheme: "bearer", description: "`abs manager account token create`" },
  session: {
    ...{ type: "apiKey", in: "cookie", name: "abs_session" },
    description: "from POST /session; what changes anything needs X-CSRF-Token too",
  },
};

const PROBLEM = {
  type: "object",
  description: "RFC 9457",
  required: ["type", "title", "status", "detail", "code", "remedy"],
  properties: {
    type: { type: "string" },
    title: { type: "string", enum: Object.values(TITLES) },
    status: { type: "integer" },
    detail: { type: "string", description: "what happened" },
    code: { type: "string", pattern: "^[A-Z][A-Z0-9_]*$" },
    remedy: { type: "string", description: "what to do" },
  },
};

function tags(): Json[] {
  const names = new Set(ADMIN_COMMANDS.map(tagOf));
  return [...names, "session", "events"].map((name) => ({ name }));
}

function tagOf({ name }: AdminCommand): string {
  return name.split(" ", 1)[0] ?? name;
}

function commandPaths(): Json {
  const paths: Record<string, Json> = {};
  for (const command of ADMIN_COMMANDS) {
    const { method, path } = command.http;
    paths[path] = { ...paths[path], [method.toLowerCase()]: operationOf(command) };
  }
  return paths;
}

function operationOf(command: AdminCommand): Json {
  const { name, description, role, input, standardInput, http, answer } = command;
  const inPath = [...http.path.matchAll(/\{(\w+)\}/g)].map(([, property = ""]) => property);
  const others = Object.keys(input.properties).filter((property) => !inPath.includes(property));
  const isRaw = standardInput?.mediaType !== undefined;
  const hasJson = http.method !== "GET" && !isRaw;
  const inQuery = hasJson ? [] : others.filter((one) => !isRaw || one !== standardInput.property);
  const hasVersions = Object.hasOwn(input.properties, EXPECT_VERSION);
  return {
    operationId: name.replaceAll(" ", "-"),
    summary: description,
    description: `Needs the role ${role}; the same as \`abs manager ${name}\`.`,
    tags: [tagOf(command)],
    "x-abs-role": role,
    parameters: [
      ...inPath.map((property) => parameterOf(command, property, "path")),
      ...inQuery.map((property) => parameterOf(command, property, "query")),
      ...(hasVersions ? [IF_MATCH] : []),
    ],
    ...(hasJson && others.length > 0 ? { requestBody: jsonBody(command, others) } : {}),
    ...(isRaw ? { requestBody: rawBody(command, standardInput) } : {}),
    responses: responses(http.method === "GET", answer),
  };
}

const IF_MATCH = {
  ...{ name: "If-Match", in: "header", schema: { type: "string" } },
  description: "ETag of the version that is to be changed; 412 if there is a newer one",
};

function schemaOf({ input }: AdminCommand, property: string): TSchema {
  return input.properties[property] as TSchema;
}

function parameterOf(command: AdminCommand, property: string, place: "path" | "query"): Json {
  const schema = schemaOf(command, property);
  return {
    ...{ name: property, in: place, schema },
    required: isNeeded(command.input, property),
    ...("description" in schema ? { description: schema.description } : {}),
  };
}

function jsonBody(command: AdminCommand, properties: readonly string[]): Json {
  const required = properties.filter((property) => isNeeded(command.input, property));
  const schema = {
    type: "object",
    properties: Object.fromEntries(properties.map((name) => [name, schemaOf(command, name)])),
    ...(required.length > 0 ? { required } : {}),
    additionalProperties: false,
  };
  return { required: required.length > 0, content: { "application/json": { schema } } };
}

function rawBody(command: AdminCommand, standardInput: StandardInput): Json {
  const schema = schemaOf(command, standardInput.property);
  const { mediaTypes } = inputKind(standardInput);
  const content = mediaTypes.map((mediaType) => [mediaType, { schema }]);
  return { required: true, content: Object.fromEntries(content) };
}

function responses(isGet: boolean, schema: TSchema): Json {
  const content = {
    "application/json": { schema },
    "text/plain": { schema: { type: "string" } },
  };
  const headers = { ETag: { schema: { type: "string" } } };
  return {
    "200": { description: "done; as text for `Accept: text/plain`", headers, content },
    ...(isGet ? { "304": { description: "as If-None-Match has it" } } : {}),
    default: { $ref: "#/components/responses/Problem" },
  };
}

function problemResponse(description: string): Json {
  const schema = { $ref: "#/components/schemas/Problem" };
  return { description, content: { [PROBLEM_MEDIA_TYPE]: { schema } } };
}

function sessionPath(): Json {
  const operation = (id: string, summary: string, answer: TSchema) => ({
    ...{ operationId: id, summary, tags: ["session"] },
    responses: responses(id === "session-show", answer),
  });
  const body = { required: true, content: { "application/json": { schema: loginSchema } } };
  return {
    get: operation("session-show", "who asks, with which role", sessionShown),
    post: {
      ...operation("session-open", "log in", sessionOpened),
      security: [],
      requestBody: body,
    },
    delete: operation("session-close", "log out", sessionClosed),
  };
}

function eventsPath(): Json {
  const stream = { "text/event-stream": { schema: { type: "string" } } };
  return {
    get: {
      ...{
        operationId: "events",
        summary: "the manager's events as they happen",
        tags: ["events"],
      },
      parameters: [
        {
          ...{ name: "Last-Event-ID", in: "header", schema: { type: "string" } },
          description: "the last event that was seen",
        },
        {
          ...{ name: "recent", in: "query" },
          schema: { type: "integer", minimum: 0, maximum: 1000, default: 0 },
          description: "how many of the last are wanted first, where no last one is named",
        },
      ],
      responses: {
        "200": { description: "server-sent events", content: stream },
        default: { $ref: "#/components/responses/Problem" },
      },
    },
  };
}
