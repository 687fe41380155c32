// Sends a file in parts and says how far it is. A part that fails is sent again from where the server stands.

const MOST_TRIES = 6;
const PAUSE_MS = 500;

export class UploadFailed extends Error {}

/** Uploads `blob` under `name`; resolves to what `finish` answers. `addresses`: begin, part, finish, cancel. `fields`: a
 * FormData that goes with the last request. */
export async function upload(blob, name, { addresses, token, kind, fields = null, signal, onProgress }) {
  const form = new FormData();
  form.set("name", name);
  form.set("kind", kind);
  form.set("size_bytes", String(blob.size));
  const begun = await post(addresses.begin, { token, body: form, signal });
  const headers = { "Upload-Ticket": begun.ticket };
  try {
    await sendParts(blob, begun.part_bytes, { address: addresses.part, token, headers, signal, onProgress });
    return await post(addresses.finish, { token, headers, body: fields, signal });
  } catch (error) {
    // The room that the parts take is given back; if this fails as well, the server clears up after a day.
    post(addresses.cancel, { token, headers }).catch(() => {});
    throw error;
  }
}

async function sendParts(blob, partBytes, { address, token, headers, signal, onProgress }) {
  let offset = 0;
  let tries = 0;
  while (offset < blob.size) {
    const part = blob.slice(offset, offset + partBytes);
    const at = { ...headers, "Upload-Offset": String(offset), "Content-Type": "application/octet-stream" };
    const progress = (sentBytes) => onProgress(offset + sentBytes);
    try {
      const answer = await post(address, { token, headers: at, body: part, signal, onProgress: progress });
      offset = answer.received_bytes;
      tries = 0;
    } catch (error) {
      if (error.receivedBytes !== undefined) offset = error.receivedBytes;
      else if (error.final || signal?.aborted) throw error;
      tries += 1;
      if (tries >= MOST_TRIES) throw new UploadFailed("The connection broke too often. Try again.");
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * 2 ** tries));
    }
    onProgress(offset);
  }
}

/** One POST by XMLHttpRequest, which tells how much of the body has gone, as fetch cannot. */
function post(address, { token, headers = {}, body = null, signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.responseType = "json";
    request.setRequestHeader("X-CSRFToken", token);
    request.setRequestHeader("Accept", "application/json");
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (onProgress) request.upload.addEventListener("progress", (event) => onProgress(event.loaded));
    request.addEventListener("load", () => settle(request, resolve, reject));
    request.addEventListener("error", () => reject(new UploadFailed("The server cannot be reached.")));
    request.addEventListener("abort", () => reject(new UploadFailed("The upload was cancelled.")));
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });
}

function settle(request, resolve, reject) {
  const answer = request.response ?? {};
  if (request.status >= 200 && request.status < 300) {
    resolve(answer);
    return;
  }
  const error = new UploadFailed(answer.message ?? `The server answered with status ${request.status}.`);
  if (request.status === 409) error.receivedBytes = answer.received_bytes;
  error.final = request.status >= 400 && request.status < 500;
  reject(error);
}
