// The recorded part of a log over HTTP, compressed and as fast as it comes: the socket takes over at its end.

const BATCH_EVENTS = 2000;

/** Yields arrays of events past `after` while the answer is still coming in. */
export async function* recordedEvents(url, after, signal) {
  const address = new URL(url, location.href);
  address.searchParams.set("after", after);
  const response = await fetch(address, {
    signal,
    credentials: "same-origin",
    headers: { Accept: "application/x-ndjson" },
  });
  if (!response.ok) throw new Error(`the log could not be read: ${response.status} ${response.statusText}`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let batch = [];
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (done ? "\n" : value)).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line !== "") batch.push(JSON.parse(line));
    if (batch.length >= BATCH_EVENTS || (done && batch.length > 0)) {
      yield batch;
      batch = [];
    }
    if (done) return;
  }
}
