/** The attempts of one call: how many, how far apart, until when. Pure: time and chance are arguments. */
import type { Retry } from "./config.js";
import { type Failure, NotAnswered } from "./decision.js";

const FULL = 10;

/**
 * How many retries all calls of a client may make together: gRPC's throttling of retries (its proposal A6). Ten tokens: a
 * failure takes one, a success gives a tenth, above half of them there are retries. A server that fails most calls is not
 * asked twice as often for it.
 */
export class Budget {
  #tokens = FULL;

  succeeded(): void {
    this.#tokens = Math.min(FULL, this.#tokens + 0.1);
  }

  failed(): void {
    this.#tokens = Math.max(0, this.#tokens - 1);
  }

  /** Whether another request may be made than the one that the caller asked for. */
  allows(): boolean {
    return this.#tokens > FULL / 2;
  }
}

/** The attempts of one call, whose first is made now and which is over at `end`. */
export class Attempts {
  #made = 1;

  constructor(
    private readonly retry: Retry,
    private readonly budget: Budget,
    private readonly end: number,
  ) {}

  /** How long to wait for the next attempt; undefined: there is none. `chance` is uniform in [0, 1). */
  next(failure: Failure, now: number, chance: number): number | undefined {
    if (!(failure instanceof NotAnswered) || !failure.retry) {
      return undefined;
    }
    this.budget.failed();
    if (this.#made >= this.retry.attempts || !this.budget.allows()) {
      return undefined;
    }
    // Full jitter on top of what the server asks for: callers do not come back together.
    const most = Math.min(this.retry.longestBackoffMs, this.retry.firstBackoffMs * 2 ** (this.#made - 1));
    const wait = failure.retryAfterMs + most * chance;
    if (now + wait >= this.end) {
      return undefined;
    }
    this.#made += 1;
    return wait;
  }
}
