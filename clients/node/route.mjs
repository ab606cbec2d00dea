// Route one query: `node route.mjs 127.0.0.1:50051 "Where is my parcel?"` prints the decision as JSON.
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const proto = fileURLToPath(new URL("../../proto", import.meta.url));
const definition = loader.loadSync("rung/v1/router.proto", { includeDirs: [proto], enums: String, keepCase: true });
const { rung } = grpc.loadPackageDefinition(definition);

const [address, text] = process.argv.slice(2);
if (text === undefined) {
  console.error("usage: node route.mjs ADDRESS TEXT");
  process.exit(64);
}
const client = new rung.v1.RouterService(address, grpc.credentials.createInsecure());
client.Route({ text }, { deadline: Date.now() + 10_000 }, (error, decision) => {
  if (error) {
    console.error(`${grpc.status[error.code]}: ${error.details}`);
    process.exitCode = 1;
  } else {
    const { win_probability, tier, model } = decision;
    console.log(JSON.stringify({ win_probability, tier, model }));
  }
  client.close();
});
