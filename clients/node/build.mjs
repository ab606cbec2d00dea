// Generates the types of the contract, copies the contract (it is read at run time) and compiles. The contract lies beside
// the package in a clone; a package that was packed is compiled already.
import { execFileSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const run = (...words) => execFileSync("npx", ["--no-install", ...words], { cwd: here, stdio: ["ignore", "ignore", "inherit"] });
const contracts = ["router", "cascade", "outcomes", "semantic"].map((name) => `rung/v1/${name}.proto`);

rmSync(`${here}/dist`, { recursive: true, force: true });
rmSync(`${here}/src/generated`, { recursive: true, force: true });
// The options are those of src/contract.ts.
run(
  "proto-loader-gen-types", "--longs=Number", "--enums=String", "--defaults", "--oneofs", "--grpcLib=@grpc/grpc-js",
  "--importFileExtension=.js", "--includeDirs=../../proto", "--outDir=src/generated", ...contracts,
);
cpSync(`${here}/../../proto/rung`, `${here}/dist/proto/rung`, { recursive: true });
try {
  execFileSync("npx", ["--no-install", "tsc"], { cwd: here, stdio: ["ignore", "inherit", "inherit"] });
} catch {
  process.exit(1);
}
