// A server that does what a script says, attempt by attempt, and remembers what it was asked; the last step is repeated.
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import protobuf from "protobufjs";

const includeDirs = [fileURLToPath(new URL("../../../proto", import.meta.url))];
const contracts = ["rung/v1/router.proto", "rung/v1/cascade.proto"];
const { rung } = grpc.loadPackageDefinition(loadSync(contracts, { includeDirs, enums: String, defaults: true, oneofs: true }));

const { root } = protobuf.parse(`
  syntax = "proto3"; package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }
  message ErrorInfo { string reason = 1; string domain = 2; }`);
const encode = (name, value) => {
  const type = root.lookupType(`google.rpc.${name}`);
  return Buffer.from(type.encode(type.fromObject(value)).finish());
};

/** Answers. */
export const well = async () => {};

/** Fails with this status and these details. */
export function failing(code, { retryAfterMs, reason } = {}) {
  const details = [];
  if (retryAfterMs !== undefined) {
    const retryDelay = { seconds: Math.floor(retryAfterMs / 1e3), nanos: (retryAfterMs % 1e3) * 1e6 };
    details.push({ typeUrl: "type.googleapis.com/google.rpc.RetryInfo", value: encode("RetryInfo", { retryDelay }) });
  }
  if (reason !== undefined) {
    details.push({ typeUrl: "type.googleapis.com/google.rpc.ErrorInfo", value: encode("ErrorInfo", { reason }) });
  }
  return async () => {
    const metadata = new grpc.Metadata();
    metadata.set("grpc-status-details-bin", encode("Status", { code, message: "scripted", details }));
    throw { code, details: "scripted", metadata };
  };
}

/** Answers once something has happened; never, where that is never. */
export const hanging = (until) => () => until;

const ANSWERS = {
  Route: () => ({ model: "small-model", winProbability: 0.25, tier: "TIER_WEAK" }),
  RouteBatch: ({ requests }) => ({
    items: [
      { response: { model: "small-model" } },
      { error: { code: 3, message: "text: too long", field: "text" } },
      { error: { code: 8, message: "full" } },
      { error: { code: 8, message: "spent", reason: "BUDGET_SPENT" } },
    ].slice(0, requests.length),
  }),
  PlanCascade: () => ({
    stages: [{ model: "small-model" }, { model: "big-model" }],
    verdict: "CASCADE_VERDICT_ESCALATE",
    nextModel: "small-model",
    token: "one",
  }),
  // Never content: a cascade that would go on for ever.
  Assess: () => ({ verdict: "CASCADE_VERDICT_ESCALATE", nextModel: "big-model", token: "two" }),
};

/** Runs `body` with the address of a double and what it was asked. */
export async function serving(script, body) {
  const asked = [];
  const server = new grpc.Server();
  const method = (name) => (call, callback) => {
    const step = script[Math.min(asked.length, script.length - 1)];
    asked.push({ request: call.request, headers: call.metadata.getMap(), deadline: call.getDeadline() });
    step().then(() => callback(null, ANSWERS[name](call.request)), callback);
  };
  const of = (...names) => Object.fromEntries(names.map((name) => [name, method(name)]));
  server.addService(rung.v1.RouterService.service, of("Route", "RouteBatch"));
  server.addService(rung.v1.CascadeService.service, of("PlanCascade", "Assess"));
  const port = await new Promise((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createInsecure();
    server.bindAsync("127.0.0.1:0", credentials, (error, port) => (error ? reject(error) : resolve(port)));
  });
  try {
    await body(`127.0.0.1:${port}`, asked);
  } finally {
    server.forceShutdown();
  }
}

/** An address where nobody listens. */
export async function nobody() {
  const free = createServer();
  await new Promise((resolve) => free.listen(0, "127.0.0.1", resolve));
  const { port } = free.address();
  await new Promise((resolve) => free.close(resolve));
  return `127.0.0.1:${port}`;
}
