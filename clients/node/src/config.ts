/** How Rung is reached, what a call may take, and what is done without it. Checked once, when a client is made. */
import { ChannelCredentials, type ChannelOptions, Metadata, credentials } from "@grpc/grpc-js";

/** The model that is called when Rung does not decide; strong, unless `weak` is said in so many words. */
export interface Fallback {
  model: string;
  weak?: boolean;
}

/** TLS: whom to trust (the system's authorities where `ca` is absent), and who we are. All of it PEM. */
export interface Tls {
  ca?: Buffer;
  certificate?: Buffer;
  key?: Buffer;
  /** The name in the server's certificate, where it is another than that of the address. */
  serverName?: string;
}

/** When a call that was not answered is made again: attempts with the first one, waits in milliseconds. */
export interface Retry {
  attempts: number;
  firstBackoffMs: number;
  longestBackoffMs: number;
}

/** Who is turned away first when Rung has more to do than it can. */
export type Priority = "low" | "normal" | "high";

/** The label of a request that says so. */
export function priorityLabel(priority: Priority): Record<string, string> {
  return { priority };
}

/** What a client is made of. */
export interface Options {
  /** What is called when Rung does not decide; a name alone is the strong model's. */
  fallback: Fallback | string;
  tls?: Tls;
  /** Bearer token. Sent over TLS, to this machine, or where `allowPlaintextToken` says that the way is safe. */
  token?: string;
  allowPlaintextToken?: boolean;
  /** The tenant that is asked for, where the token may speak for several. */
  tenant?: string;
  /** What a decision or a verdict may take, all attempts together; 50. */
  deadlineMs?: number;
  /** What a report may take, which is answered once it is on disk; 2000. */
  reportDeadlineMs?: number;
  retry?: Partial<Retry>;
  /** Ask for a decision a second time, once, when there is no answer after so long. Off when absent. */
  hedgeAfterMs?: number;
}

/** Options that were checked, with what was left out. */
export interface Config {
  fallback: Required<Fallback>;
  deadlineMs: number;
  reportDeadlineMs: number;
  retry: Retry;
  hedgeAfterMs: number | undefined;
  metadata: Metadata;
  credentials: ChannelCredentials;
  channel: ChannelOptions;
}

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

export function configure(address: string, options: Options): Config {
  const host = /^([^/\s]+):\d+$/.exec(address)?.[1];
  if (host === undefined) {
    throw new RangeError(`${address}: not host:port`);
  }
  const { tls, token } = options;
  if (token !== undefined && tls === undefined && !options.allowPlaintextToken && !LOOPBACK.includes(host)) {
    throw new RangeError(`a token over plain text to ${address}: give tls, or allowPlaintextToken`);
  }
  const retry = { attempts: 3, firstBackoffMs: 5, longestBackoffMs: 25, ...options.retry };
  const fallback = typeof options.fallback === "string" ? { model: options.fallback } : options.fallback;
  return {
    fallback: { weak: false, ...fallback },
    deadlineMs: above("deadlineMs", options.deadlineMs ?? 50),
    reportDeadlineMs: above("reportDeadlineMs", options.reportDeadlineMs ?? 2_000),
    retry: { ...retry, attempts: above("retry.attempts", retry.attempts) },
    hedgeAfterMs: options.hedgeAfterMs,
    metadata: headers(token, options.tenant),
    credentials: tls ? secure(tls) : credentials.createInsecure(),
    channel: channel(tls),
  };
}

function above(name: string, value: number): number {
  if (!(value > 0)) {
    throw new RangeError(`${name} must be above 0`);
  }
  return value;
}

function headers(token?: string, tenant?: string): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of [["authorization", token && `Bearer ${token}`], ["x-rung-tenant", tenant]] as const) {
    if (value !== undefined) {
      metadata.set(name, value);
    }
  }
  return metadata;
}

function secure(tls: Tls): ChannelCredentials {
  return credentials.createSsl(tls.ca ?? null, tls.key ?? null, tls.certificate ?? null);
}

function channel(tls?: Tls): ChannelOptions {
  return {
    // A channel that was refused tries again soon: a server that is back is used within seconds.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 3_000,
    "grpc.keepalive_time_ms": 20_000,
    // Retries are ours, within the caller's deadline.
    "grpc.enable_retries": 0,
    ...(tls?.serverName === undefined ? {} : { "grpc.ssl_target_name_override": tls.serverName }),
  };
}
