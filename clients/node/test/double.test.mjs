// The client against a server that fails as it is told.
import assert from "node:assert/strict";
import { test } from "node:test";
import grpc from "@grpc/grpc-js";
import { Client, NotAnswered, Refused } from "@rung/client";
import { failing, hanging, nobody, serving, well } from "./double.mjs";

const { status } = grpc;
const NEVER = new Promise(() => {});
const UNAVAILABLE = failing(status.UNAVAILABLE);
const FULL = failing(status.RESOURCE_EXHAUSTED, { retryAfterMs: 1 });

/** One call of a client that is made for it. */
async function call(address, options, calling) {
  const client = new Client(address, { fallback: "big-model", deadlineMs: 20_000, ...options });
  try {
    return await calling(client);
  } finally {
    client.close();
  }
}
const route = (address, options) => call(address, options, (client) => client.route("hello"));

test("what may pass is tried again, as often as allowed", async () => {
  for (const [step, reason] of [[UNAVAILABLE, "unreachable"], [FULL, "overloaded"]]) {
    for (const [failures, attempts] of [[0, 1], [1, 2], [2, 3], [2, 2], [5, 3], [1, 1]]) {
      await serving([...Array(failures).fill(step), well], async (address, asked) => {
        const begun = Date.now();
        const decision = await route(address, { retry: { attempts } });
        assert.equal(asked.length, Math.min(failures + 1, attempts));
        if (failures < attempts) {
          assert.equal(decision.kind, "routed");
          assert.deepEqual([decision.model, decision.response.winProbability], ["small-model", 0.25]);
        } else {
          const { kind, model, tier } = decision;
          assert.deepEqual([kind, model, tier, decision.reason], ["fallback", "big-model", "TIER_STRONG", reason]);
        }
        for (const { deadline } of asked) {
          // No attempt is given more than the call; a second for what is rounded and on the way.
          assert.ok(Number(deadline) <= begun + 21_000);
        }
      });
    }
  }
});

test("a refusal is no fallback, and is asked once", async () => {
  for (const name of ["INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "FAILED_PRECONDITION", "NOT_FOUND"]) {
    await serving([failing(status[name])], async (address, asked) => {
      await assert.rejects(route(address), (error) => error instanceof Refused && error.message.startsWith(name));
      assert.equal(asked.length, 1);
    });
  }
  await serving([failing(status.RESOURCE_EXHAUSTED, { reason: "BUDGET_SPENT" })], async (address, asked) => {
    await assert.rejects(route(address), Refused, "a budget that is spent is not overrun");
    assert.equal(asked.length, 1);
  });
});

test("a broken server is asked once", async () => {
  for (const name of ["INTERNAL", "UNKNOWN", "DATA_LOSS", "ABORTED"]) {
    await serving([failing(status[name])], async (address, asked) => {
      assert.equal((await route(address)).reason, "broken");
      assert.equal(asked.length, 1);
    });
  }
});

test("a wish to be left alone beyond the deadline ends the call", async () => {
  await serving([failing(status.RESOURCE_EXHAUSTED, { retryAfterMs: 3_600_000 })], async (address, asked) => {
    assert.equal((await route(address)).reason, "overloaded");
    assert.equal(asked.length, 1);
  });
});

test("who is too late or away is replaced", async () => {
  await serving([hanging(NEVER)], async (address, asked) => {
    const decision = await route(address, { deadlineMs: 1_000, fallback: { model: "tiny", weak: true } });
    assert.deepEqual([decision.model, decision.tier, decision.reason], ["tiny", "TIER_WEAK", "too_late"]);
    assert.equal(asked.length, 1);
  });
  const away = await nobody();
  assert.equal((await route(away)).reason, "unreachable");
  await assert.rejects(call(away, {}, (client) => client.info()), NotAnswered);
});

test("a hedge is one more, and off by default", async () => {
  let came;
  const second = new Promise((resolve) => (came = resolve));
  const arrives = async () => came();
  await serving([hanging(second), arrives, hanging(NEVER)], async (address, asked) => {
    assert.equal((await route(address, { hedgeAfterMs: 10 })).kind, "routed");
    assert.equal(asked.length, 2);
  });
  await serving([hanging(NEVER)], async (address, asked) => {
    assert.equal((await route(address, { hedgeAfterMs: 10, deadlineMs: 2_000 })).reason, "too_late");
    assert.equal(asked.length, 2);
  });
  await serving([well], async (address, asked) => {
    assert.equal((await route(address, { hedgeAfterMs: 20_000 })).kind, "routed");
    assert.equal(asked.length, 1);
  });
});

test("a batch has a decision or a refusal for each", async () => {
  await serving([well], async (address) => {
    const batch = (client) => client.routeBatch(["a", "b", { text: "c" }, "d"]);
    const [routed, wrong, full, spent] = await call(address, {}, batch);
    assert.equal(routed.kind, "routed");
    assert.ok(wrong instanceof Refused && wrong.code === status.INVALID_ARGUMENT);
    assert.deepEqual([full.kind, full.reason], ["fallback", "overloaded"]);
    assert.ok(spent instanceof Refused);
  });
  const away = await call(await nobody(), {}, (client) => client.routeBatch(["a", "b"]));
  assert.deepEqual(away.map(({ reason }) => reason), ["unreachable", "unreachable"]);
});

test("a cascade without Rung ends at the fallback, once", async () => {
  const cascade = async (address, fallback = "big-model") => {
    const called = [];
    const answer = async (model) => {
      called.push(model);
      return `by ${model}`;
    };
    const ended = await call(address, { fallback }, (client) => client.cascade("hello", answer));
    return { ended, called };
  };
  const away = await cascade(await nobody());
  assert.deepEqual([away.ended.kind, away.ended.answer.text], ["fallback", "by big-model"]);
  assert.deepEqual(away.called, ["big-model"]);
  // Rung goes away after the first answer; and: the answer at hand is already the fallback's.
  for (const [fallback, expected] of [["big-model", ["small-model", "big-model"]], ["small-model", ["small-model"]]]) {
    await serving([well, failing(status.INTERNAL)], async (address) => {
      const { ended, called } = await cascade(address, fallback);
      assert.deepEqual([ended.kind, ended.decision.reason], ["fallback", "broken"]);
      assert.deepEqual(called, expected);
    });
  }
  await serving([well], async (address) => {
    const { ended, called } = await cascade(address);
    assert.equal(ended.kind, "fallback", "a cascade without an end was followed");
    assert.deepEqual(called, ["small-model", "big-model", "big-model"]);
  });
});

test("token, tenant, labels and priority travel", async () => {
  await serving([well], async (address, asked) => {
    await route(address, { token: "rung_app_secret", tenant: "acme" });
    const labelled = (client) => client.route({ text: "hi", labels: { a: "b" } }, { labels: { team: "x" }, priority: "low" });
    await call(address, {}, labelled);
    assert.equal(asked[0].headers.authorization, "Bearer rung_app_secret");
    assert.equal(asked[0].headers["x-rung-tenant"], "acme");
    assert.equal(asked[1].headers.authorization, undefined);
    assert.deepEqual({ ...asked[1].request.labels }, { a: "b", team: "x", priority: "low" });
  });
});

test("what cannot work is refused at once", () => {
  const wrong = [
    ["localhost", {}],
    ["http://localhost:1", {}],
    ["localhost:1", { deadlineMs: 0 }],
    ["localhost:1", { deadlineMs: NaN }],
    ["localhost:1", { reportDeadlineMs: -1 }],
    ["localhost:1", { retry: { attempts: 0 } }],
    ["localhost:1", { token: "a\nb" }],
    ["rung.example:1", { token: "rung_app_secret" }],
  ];
  for (const [address, options] of wrong) {
    assert.throws(() => new Client(address, { fallback: "big-model", ...options }), `${address} ${JSON.stringify(options)}`);
  }
});
