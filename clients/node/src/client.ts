/** The client: its calls, and how one call is run. */
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { Client as Channel, type ClientUnaryCall } from "@grpc/grpc-js";
import { Attempts, Budget } from "./attempts.js";
import { type Answer, type Cascaded, cascade } from "./cascade.js";
import { type Config, type Options, type Priority, configure, priorityLabel } from "./config.js";
import * as contract from "./contract.js";
import { type Decision, type Failure, NotAnswered, Refused, decided, failureOf, itemDecided, tooLate } from "./decision.js";
import type * as m from "./messages.js";

/** One request under way. */
interface Started<Answered> {
  answered: Promise<Answered>;
  cancel(): void;
}

/** A client of one Rung. It connects with its first call, and again whenever it must. */
export class Client {
  readonly #config: Config;
  readonly #channel: Channel;
  readonly #budget = new Budget();

  constructor(address: string, options: Options) {
    this.#config = configure(address, options);
    this.#channel = new Channel(address, this.#config.credentials, this.#config.channel);
  }

  /** Which model to call. Throws `Refused` only; where Rung does not answer, the decision is the fallback. */
  async route(
    query: string | m.RouteRequest,
    { labels, priority }: { labels?: Record<string, string>; priority?: Priority } = {},
  ): Promise<Decision> {
    const asked = question(query);
    const all = { ...asked.labels, ...labels, ...(priority === undefined ? {} : priorityLabel(priority)) };
    const { deadlineMs, hedgeAfterMs, fallback } = this.#config;
    const answered = await this.#answered(contract.route, { ...asked, labels: all }, deadlineMs, hedgeAfterMs);
    return decided(fallback, answered);
  }

  /** Which models to call: one decision or refusal per query, in the same order. */
  async routeBatch(queries: readonly (string | m.RouteRequest)[]): Promise<(Decision | Refused)[]> {
    const { deadlineMs, fallback } = this.#config;
    const answered = await this.#answered(contract.routeBatch, { requests: queries.map(question) }, deadlineMs);
    return answered instanceof NotAnswered
      ? queries.map(() => decided(fallback, answered))
      : answered.items.map((item) => itemDecided(fallback, item));
  }

  /** Which model of a cascade to call first; `cascade` goes through all of it. */
  planCascade(request: m.PlanCascadeRequest): Promise<m.PlanCascadeReply> {
    return this.#call(contract.planCascade, request, this.#config.deadlineMs);
  }

  /** What becomes of an answer. Safe to be asked again: the same token and answer get the same verdict. */
  assess(request: m.AssessRequest): Promise<m.AssessReply> {
    return this.#call(contract.assess, request, this.#config.deadlineMs);
  }

  /** Reports what came of a decision. Safe to be sent again: a source is heard once. */
  reportOutcome(report: m.ReportOutcomeRequest): Promise<m.ReportOutcomeReply> {
    return this.#call(contract.reportOutcome, report, this.#config.reportDeadlineMs);
  }

  /** What a query is about. */
  match(request: m.MatchRequest): Promise<m.MatchReply> {
    return this.#call(contract.match, request, this.#config.deadlineMs);
  }

  /** What is loaded. Asked once at the start, it also opens the connection; it has the time of a report. */
  info(): Promise<m.InfoReply> {
    return this.#call(contract.getInfo, {}, this.#config.reportDeadlineMs);
  }

  /**
   * Brings a query through a cascade; `call` calls the model of that name. Where Rung does not answer, the model of the
   * fallback is called, unless the answer at hand is already its.
   */
  cascade(
    query: string | m.PlanCascadeRequest,
    call: (model: string) => Promise<Answer | string>,
  ): Promise<Cascaded> {
    const { deadlineMs, fallback } = this.#config;
    return cascade(typeof query === "string" ? { text: query } : query, fallback, {
      plan: (request) => this.#answered(contract.planCascade, request, deadlineMs),
      assess: (request) => this.#answered(contract.assess, request, deadlineMs),
      call,
    });
  }

  /** Ends the connection. */
  close(): void {
    this.#channel.close();
  }

  async #answered<Asked, Answered>(
    method: contract.Method<Asked, Answered>,
    request: Asked,
    limitMs: number,
    hedgeAfterMs?: number,
  ): Promise<Answered | NotAnswered> {
    try {
      return await this.#call(method, request, limitMs, hedgeAfterMs);
    } catch (error) {
      if (error instanceof NotAnswered) {
        return error;
      }
      throw error;
    }
  }

  async #call<Asked, Answered>(
    method: contract.Method<Asked, Answered>,
    request: Asked,
    limitMs: number,
    hedgeAfterMs?: number,
  ): Promise<Answered> {
    const end = performance.now() + limitMs;
    const attempts = new Attempts(this.#config.retry, this.#budget, end);
    const start = () => this.#start(method, request, end);
    for (let first = true; ; first = false) {
      try {
        const answer =
          first && hedgeAfterMs !== undefined ? await this.#hedged(start, hedgeAfterMs) : await start().answered;
        this.#budget.succeeded();
        return answer;
      } catch (failure) {
        const wait = attempts.next(failure as Failure, performance.now(), Math.random());
        if (wait === undefined) {
          throw failure;
        }
        await sleep(wait);
      }
    }
  }

  #start<Asked, Answered>(
    method: contract.Method<Asked, Answered>,
    request: Asked,
    end: number,
  ): Started<Answered> {
    const left = end - performance.now();
    if (left <= 0) {
      return { answered: Promise.reject(tooLate()), cancel: () => {} };
    }
    let call: ClientUnaryCall | undefined;
    const answered = new Promise<Answered>((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = method;
      const options = { deadline: Date.now() + left };
      const metadata = this.#config.metadata;
      call = this.#channel.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        options,
        (error, answer) => (error ? reject(failureOf(error)) : resolve(answer as Answered)),
      );
    });
    return { answered, cancel: () => call?.cancel() };
  }

  /**
   * One attempt, and a second beside it when the first takes longer. The first answer counts; a failure only when both
   * have failed, or when it is a refusal, which the other would get too.
   */
  async #hedged<Answered>(start: () => Started<Answered>, afterMs: number): Promise<Answered> {
    const started = [start()];
    const waiting = new AbortController();
    try {
      const slow = sleep(afterMs, "slow" as const, { signal: waiting.signal }).catch(() => "slow" as const);
      const first = started[0]!.answered;
      const won = await Promise.race([first.then(() => "answered" as const), slow]);
      if (won === "slow" && this.#budget.allows()) {
        started.push(start());
      }
      return await firstAnswer(started.map(({ answered }) => answered));
    } finally {
      waiting.abort();
      for (const { cancel } of started) {
        cancel();
      }
    }
  }
}

/** The first answer, the first refusal, or the last failure to answer. */
function firstAnswer<Answered>(all: Promise<Answered>[]): Promise<Answered> {
  return new Promise((resolve, reject) => {
    let left = all.length;
    for (const one of all) {
      one.then(resolve, (failure: Failure) => {
        left -= 1;
        if (left === 0 || failure instanceof Refused) {
          reject(failure);
        }
      });
    }
  });
}

function question(query: string | m.RouteRequest): m.RouteRequest {
  return typeof query === "string" ? { text: query } : query;
}
