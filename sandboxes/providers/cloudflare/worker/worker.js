// Sandboxes over Cloudflare's container API (`ctx.container`, public beta since 2026-09-30), for one team.
//
//   GET    /v1/ping                      {"ok": true}
//   GET    /v1/sandboxes                 {"sandboxes": [info]}
//   PUT    /v1/sandbox/{id}              start, or find: {env, labels, lifetime_s, idle_s, internet, snapshot} -> info
//   GET    /v1/sandbox/{id}              info, 404 when it has ended
//   POST   /v1/sandbox/{id}/exec         {argv} -> server-sent events: stdout and stderr (base64), exit, error
//   GET    /v1/sandbox/{id}/pipe?argv=   WebSocket: bytes to and from a process, then a text frame {"type": "exit"}
//   POST   /v1/sandbox/{id}/extend       {seconds} -> info
//   POST   /v1/sandbox/{id}/snapshot     {name, ttl_s} -> {id, size, created_at, expires_at}
//   DELETE /v1/sandbox/{id}              204, also for one that is gone
//   DELETE /v1/snapshot/{id}             204: it is not restored any more (the API has no call that deletes one)
//
// Every request carries `Authorization: Bearer SANDBOX_API_KEY`. Errors: {"error": text, "code": word}.
// No build step, no dependencies. Shapes of the container API: @cloudflare/workers-types 5.20261117.1.

import { DurableObject } from "cloudflare:workers";

const ID = /^[a-z2-7]{1,128}$/;
const MAX_IDLE_MS = 6 * 3600 * 1000; // of setInactivityTimeout

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function refusal(status, code, message) {
  return Response.json({ error: message, code }, { status });
}

// Digests have one length, so comparing them tells nothing about where the keys differ.
export async function authorized(request, key) {
  if (!key) return false; // a Worker without a key serves nobody
  const given = (request.headers.get("authorization") ?? "").replace(/^bearer /i, "");
  const digest = async (text) => new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  const [one, two] = await Promise.all([digest(given), digest(key)]);
  return one.reduce((different, byte, index) => different | (byte ^ two[index]), 0) === 0;
}

async function answered(handle) {
  try {
    return await handle();
  } catch (error) {
    if (error instanceof Refused) return refusal(error.status, error.code, error.message);
    const message = String(error?.message ?? error);
    if (/instance limit|no capacity|maximum number/i.test(message)) return refusal(503, "capacity_exceeded", message);
    return refusal(502, "container_error", message);
  }
}

export default {
  async fetch(request, env) {
    if (!(await authorized(request, env.SANDBOX_API_KEY))) return refusal(401, "unauthorized", "Unauthorized");
    const url = new URL(request.url);
    const [version, kind, id, ...rest] = url.pathname.split("/").slice(1);
    if (version !== "v1") return refusal(404, "not_found", "there is no such address");
    const index = env.INDEX.get(env.INDEX.idFromName("all"));
    if (kind === "ping") return Response.json({ ok: true });
    if (kind === "sandboxes" && request.method === "GET") return index.fetch("https://index/sandboxes");
    if (kind === "snapshot" && request.method === "DELETE" && id)
      return index.fetch(`https://index/snapshots/${id}`, { method: "DELETE" });
    if (kind !== "sandbox" || !ID.test(id ?? "")) return refusal(400, "invalid_request", "Invalid sandbox ID format");
    const inner = new URL(`https://sandbox/${rest.join("/")}${url.search}`);
    inner.searchParams.set("id", id);
    return env.SANDBOX.get(env.SANDBOX.idFromName(id)).fetch(new Request(inner, request));
  },
};

// What there is, for listing: one object for all sandboxes and snapshots of the Worker.
export class Index extends DurableObject {
  async fetch(request) {
    const [kind, id] = new URL(request.url).pathname.split("/").slice(1);
    const storage = this.ctx.storage;
    if (!id) return Response.json({ [kind]: [...(await storage.list({ prefix: `${kind}/` })).values()] });
    const key = `${kind}/${id}`;
    if (request.method === "PUT") await storage.put(key, await request.json());
    else if (request.method === "DELETE") await storage.delete(key);
    else {
      const found = await storage.get(key);
      return found ? Response.json(found) : refusal(404, "not_found", `there is no ${key}`);
    }
    return new Response(null, { status: 204 });
  }
}

// One sandbox. Its record is kept in the object's storage; without a record it has ended, and nothing is started.
export class Sandbox extends DurableObject {
  async fetch(request) {
    return answered(async () => {
      const url = new URL(request.url);
      const action = `${request.method} ${url.pathname.slice(1)}`;
      if (action === "PUT ") return this.begin(url.searchParams.get("id"), await request.json());
      if (action === "DELETE ") return this.end();
      const record = await this.record();
      if (!record) throw new Refused(404, "not_found", "there is no such sandbox, or it has ended");
      if (action === "GET ") return Response.json(record);
      if (action === "POST exec") return this.exec(record, (await request.json()).argv);
      if (action === "GET pipe") return this.pipe(record, request, JSON.parse(url.searchParams.get("argv")));
      if (action === "POST extend") return this.extend(record, (await request.json()).seconds);
      if (action === "POST snapshot") return this.snapshot(record, await request.json());
      throw new Refused(404, "not_found", "there is no such address");
    });
  }

  // A container that stopped (idle, crashed, moved) has lost its files: the sandbox has ended then.
  async record() {
    const record = await this.ctx.storage.get("record");
    if (!record) return null;
    if (this.ctx.container.running && record.expires_at * 1000 > Date.now()) return record.info;
    await this.end();
    return null;
  }

  index(path, method, body) {
    const stub = this.env.INDEX.get(this.env.INDEX.idFromName("all"));
    return stub.fetch(`https://index/${path}`, { method, body: body && JSON.stringify(body) });
  }

  async begin(id, asked) {
    const known = await this.record();
    if (known) return Response.json(known);
    const options = { enableInternet: asked.internet === true, env: asked.env ?? {}, labels: { rlmweb: "1" } };
    if (asked.snapshot) {
      const found = await this.index(`snapshots/${asked.snapshot}`, "GET");
      if (found.status === 404) throw new Refused(404, "not_found", "there is no such snapshot");
      const snapshot = await found.json();
      if (snapshot.expires_at && snapshot.expires_at * 1000 <= Date.now())
        throw new Refused(410, "snapshot_expired", "the snapshot has expired");
      options.containerSnapshot = { id: snapshot.id };
    }
    const now = Date.now() / 1000;
    const info = { id, created_at: now, expires_at: now + asked.lifetime_s, labels: asked.labels ?? {} };
    // The record comes first: whatever is started is found and ended.
    await this.keep(info);
    try {
      this.ctx.container.start(options);
      await this.ctx.container.setInactivityTimeout(Math.min(asked.idle_s * 1000, MAX_IDLE_MS));
      const made = await this.ctx.container.exec(["mkdir", "-p", "/workspace"]);
      if ((await made.exitCode) !== 0) throw new Error("the image has no mkdir, or its disk cannot be written");
    } catch (error) {
      await this.end();
      throw error;
    }
    return Response.json(info);
  }

  async keep(info) {
    await this.ctx.storage.put("record", { info, expires_at: info.expires_at });
    await this.index(`sandboxes/${info.id}`, "PUT", info);
    await this.ctx.storage.setAlarm(info.expires_at * 1000);
  }

  async extend(info, seconds) {
    if (!(seconds > 0)) throw new Refused(400, "invalid_request", "seconds is above 0");
    const longer = { ...info, expires_at: info.expires_at + seconds };
    await this.keep(longer);
    return Response.json(longer);
  }

  async alarm() {
    await this.record(); // which ends what is over
  }

  async end() {
    const record = await this.ctx.storage.get("record");
    if (this.ctx.container.running) await this.ctx.container.destroy();
    if (record) await this.index(`sandboxes/${record.info.id}`, "DELETE");
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.delete("record");
    return new Response(null, { status: 204 });
  }

  async exec(record, argv) {
    if (!Array.isArray(argv) || argv.length === 0)
      throw new Refused(400, "invalid_request", "argv must be a non-empty array");
    const options = { cwd: "/workspace", stdout: "pipe", stderr: "pipe" };
    const process = await this.ctx.container.exec(argv, options);
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    const text = new TextEncoder();
    const say = (event, data) => writer.write(text.encode(`event: ${event}\ndata: ${data}\n\n`));
    const copy = async (event, stream) => {
      for await (const chunk of stream) await say(event, base64(chunk));
    };
    const carry = async () => {
      try {
        await Promise.all([copy("stdout", process.stdout), copy("stderr", process.stderr)]);
        await say("exit", JSON.stringify({ exit_code: await process.exitCode }));
        await writer.close();
      } catch (error) {
        process.kill(9); // nobody listens any more, or the container has gone
        await writer.abort(error).catch(() => {});
      }
    };
    this.ctx.waitUntil(carry());
    return new Response(readable, { headers: { "content-type": "text/event-stream", "cache-control": "no-cache" } });
  }

  async pipe(record, request, argv) {
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket")
      throw new Refused(400, "invalid_request", "WebSocket upgrade required");
    const options = { cwd: "/workspace", stdin: "pipe", stdout: "pipe", stderr: "ignore" };
    const process = await this.ctx.container.exec(argv, options);
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.binaryType = "arraybuffer";
    const input = process.stdin.getWriter();
    server.addEventListener("message", (event) => {
      const data = typeof event.data === "string" ? new TextEncoder().encode(event.data) : new Uint8Array(event.data);
      input.write(data).catch(() => server.close(1011, "the process does not read"));
    });
    // The process is `attach`, which is one end of a line and no more: it goes with its connection.
    server.addEventListener("close", () => process.kill(9));
    const carry = async () => {
      try {
        for await (const chunk of process.stdout) server.send(chunk);
        server.send(JSON.stringify({ type: "exit", code: await process.exitCode }));
        server.close(1000);
      } catch (error) {
        server.close(1011, String(error?.message ?? error).slice(0, 100));
      }
    };
    this.ctx.waitUntil(carry());
    return new Response(null, { status: 101, webSocket: client });
  }

  async snapshot(record, asked) {
    let taken;
    try {
      taken = await this.ctx.container.snapshotContainer({ name: asked.name || undefined });
    } catch (error) {
      throw new Refused(502, "snapshot_failed", String(error?.message ?? error));
    }
    const now = Date.now() / 1000;
    const expires_at = asked.ttl_s == null ? null : now + asked.ttl_s;
    const snapshot = { id: taken.id, size: taken.size, created_at: now, expires_at };
    await this.index(`snapshots/${taken.id}`, "PUT", snapshot);
    return Response.json(snapshot);
  }
}

export function base64(bytes) {
  let text = "";
  for (let start = 0; start < bytes.length; start += 6144)
    text += String.fromCharCode(...bytes.subarray(start, start + 6144));
  return btoa(text);
}
