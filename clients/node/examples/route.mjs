// Routes one query: `node route.mjs 127.0.0.1:50051 "Where is my parcel?"` prints the decision as JSON. A token, a tenant and
// files for TLS are taken from RUNG_TOKEN, RUNG_TENANT, RUNG_CA, RUNG_CERT and RUNG_KEY.
import { readFileSync } from "node:fs";
import { Client } from "@rung/client";

const [address, text] = process.argv.slice(2);
if (text === undefined) {
  console.error("usage: node route.mjs ADDRESS TEXT");
  process.exit(64);
}
const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
const { RUNG_TOKEN, RUNG_TENANT, RUNG_CA, RUNG_CERT, RUNG_KEY } = process.env;
const pem = (path) => (path ? readFileSync(path) : undefined);
const tls = RUNG_CA ? given({ ca: pem(RUNG_CA), certificate: pem(RUNG_CERT), key: pem(RUNG_KEY) }) : undefined;
const options = given({ tls, token: RUNG_TOKEN, tenant: RUNG_TENANT });
const client = new Client(address, { fallback: "big-model", deadlineMs: 10_000, ...options });
try {
  const decision = await client.route(text);
  if (decision.kind === "routed") {
    const { winProbability: win_probability, tier, model } = decision.response;
    console.log(JSON.stringify({ win_probability, tier, model }));
  } else {
    const { reason, tier, model } = decision;
    console.log(JSON.stringify({ fallback: reason, tier, model }));
  }
} catch (refused) {
  console.error(refused.message);
  process.exitCode = 1;
}
client.close();
