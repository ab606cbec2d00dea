// The client against the real server: its address is in RUNG_ADDRESS (and, with a verifier, in RUNG_CASCADE_ADDRESS).
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, Refused } from "@rung/client";

const { RUNG_ADDRESS: address, RUNG_CASCADE_ADDRESS: cascadeAddress } = process.env;
const OPTIONS = { fallback: "big-model", deadlineMs: 20_000, reportDeadlineMs: 20_000 };

test("decisions, outcomes and refusals", { skip: !address }, async () => {
  const client = new Client(address, OPTIONS);
  const one = await client.route("Where is my parcel?");
  assert.equal(one.kind, "routed");
  const [first, empty] = await client.routeBatch(["Where is my parcel?", ""]);
  assert.equal(first.response.winProbability, one.response.winProbability);
  assert.equal(empty.kind, "routed");
  assert.ok((await client.info()).artifact);
  const report = { decisionId: one.response.decisionId, source: "app", thumbs: { up: true } };
  assert.equal((await client.reportOutcome(report)).status, "OUTCOME_STATUS_RECORDED");
  assert.equal((await client.reportOutcome(report)).status, "OUTCOME_STATUS_DUPLICATE");
  await assert.rejects(client.reportOutcome({ decisionId: "x" }), /decision_id/);
  // This server has no catalogue of intents.
  await assert.rejects(client.match({ text: "hello" }), Refused);
  client.close();
});

test("a cascade ends where an answer is good enough", { skip: !cascadeAddress }, async () => {
  const client = new Client(cascadeAddress, OPTIONS);
  // The verifier of the tests likes long answers.
  const lengths = { small: 100, medium: 60, large: 1_000 };
  const called = [];
  const answer = async (model) => {
    called.push(model);
    return { text: "x".repeat(lengths[model]), signals: { finishReason: "stop" } };
  };
  const ended = await client.cascade("What is 17 * 23?", answer);
  assert.deepEqual([ended.kind, ended.answer.text.length], ["accepted", 1_000]);
  assert.deepEqual(called, ["small", "medium", "large"]);
  lengths.small = 1;
  assert.equal((await client.cascade({ text: "What is 17 * 23?" }, answer)).kind, "abstained");
  client.close();
});
