// The run page: reads the log, keeps the state, and draws everything from it.

import { recordedEvents } from "../live/load.js";
import { EventLog } from "../live/log.js";
import { Stream } from "../live/socket.js";
import { RunPage } from "./page.js";

const root = document.getElementById("run");
const log = new EventLog();
const page = new RunPage(root, log);

async function start() {
  try {
    for await (const events of recordedEvents(root.dataset.events, log.last)) {
      log.add(events);
      page.changed();
    }
  } catch (error) {
    // The socket gives the rest, or says why there is none.
    console.error(error);
  }
  page.loaded();
  if (!root.dataset.socket) {
    // A link to a frozen run: there is nothing to wait for.
    page.connection({ state: "live", since: null });
    return;
  }
  const socketAddress = new URL(root.dataset.socket, location.href);
  socketAddress.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  new Stream(socketAddress, {
    after: () => log.last,
    onEvents: (events) => {
      log.add(events);
      page.changed();
    },
    onState: (state) => page.connection(state),
  }).open();
}

start();
