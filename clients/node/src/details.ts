/** What google.rpc.Status in the trailers says beside the code: when to come back, and one word for machines. */
import type { Metadata } from "@grpc/grpc-js";
import protobuf from "protobufjs";

export interface Told {
  retryAfterMs: number;
  reason: string;
}

// The few fields that are read, of messages that everybody has.
const root = protobuf.Root.fromJSON({
  nested: {
    Any: { fields: { typeUrl: { type: "string", id: 1 }, value: { type: "bytes", id: 2 } } },
    Status: { fields: { details: { rule: "repeated", type: "Any", id: 3 } } },
    Duration: { fields: { seconds: { type: "int64", id: 1 }, nanos: { type: "int32", id: 2 } } },
    RetryInfo: { fields: { retryDelay: { type: "Duration", id: 1 } } },
    ErrorInfo: { fields: { reason: { type: "string", id: 1 } } },
  },
});

/** Nothing where it cannot be read. */
export function told(metadata: Metadata | undefined): Told {
  const found: Told = { retryAfterMs: 0, reason: "" };
  for (const value of metadata?.get("grpc-status-details-bin") ?? []) {
    try {
      const status = read("Status", value as Buffer);
      for (const { typeUrl, value: bytes } of status["details"] as { typeUrl: string; value: Uint8Array }[]) {
        if (typeUrl.endsWith("/google.rpc.RetryInfo")) {
          const delay = read("RetryInfo", bytes)["retryDelay"] as { seconds: number; nanos: number } | null;
          found.retryAfterMs = Math.max(0, (delay?.seconds ?? 0) * 1e3 + (delay?.nanos ?? 0) / 1e6);
        } else if (typeUrl.endsWith("/google.rpc.ErrorInfo")) {
          found.reason = read("ErrorInfo", bytes)["reason"] as string;
        }
      }
    } catch {
      continue;
    }
  }
  return found;
}

function read(name: string, bytes: Uint8Array): Record<string, unknown> {
  const type = root.lookupType(name);
  return type.toObject(type.decode(bytes), { longs: Number, defaults: true });
}
