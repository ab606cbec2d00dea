// The attempts of a call, on a simulated clock.
import assert from "node:assert/strict";
import { test } from "node:test";
import { NotAnswered, Refused } from "@rung/client";
import { Attempts, Budget } from "../dist/attempts.js";

const RETRY = { attempts: 3, firstBackoffMs: 5, longestBackoffMs: 25 };

/** Numbers in [0, 1) that are the same each time. */
function drawing(seed) {
  let state = seed + 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test("never more attempts than allowed, and none after the deadline", () => {
  for (let seed = 0; seed < 2_000; seed += 1) {
    const draw = drawing(seed);
    const allowed = 1 + Math.floor(draw() * 5);
    const end = 1 + draw() * 200;
    const attempts = new Attempts({ ...RETRY, attempts: allowed }, new Budget(), end);
    let [now, made] = [0, 1];
    for (;;) {
      now += draw() * 40;
      const again = draw() < 0.9;
      const after = draw() < 0.5 ? 0 : draw() * 200;
      const wait = attempts.next(new NotAnswered("overloaded", "", again, after), now, draw());
      if (wait === undefined) {
        break;
      }
      assert.ok(again, "what is final was tried again");
      assert.ok(wait >= after, "the server asked for more");
      now += wait;
      made += 1;
      assert.ok(now < end, "an attempt after the deadline");
    }
    assert.ok(made <= allowed, `seed ${seed}`);
  }
});

test("the wait doubles up to its limit, and the budget ends", () => {
  const attempts = new Attempts({ ...RETRY, attempts: 9 }, new Budget(), 60_000);
  const again = new NotAnswered("unreachable", "", true);
  const waits = Array.from({ length: 5 }, () => attempts.next(again, 0, 0.5));
  assert.deepEqual(waits, [2.5, 5, 10, 12.5, undefined]);
  assert.equal(new Attempts(RETRY, new Budget(), 60_000).next(new Refused(5, ""), 0, 0.5), undefined);
});

test("a server that keeps failing is not asked again", () => {
  const budget = new Budget();
  let retries = 0;
  for (let failures = 0; failures < 100; failures += 1) {
    budget.failed();
    retries += Number(budget.allows());
  }
  assert.equal(retries, 4);
  for (let successes = 0; successes < 52; successes += 1) {
    budget.succeeded();
  }
  assert.ok(budget.allows());
});
