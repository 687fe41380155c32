// The live part of a log: a websocket that resumes where the log ends and connects again by itself.
// The messages and close codes are described in runs/consumers.py.

const QUIET_MS = 25_000; // the server says something at least every 10 s
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const GIVE_UP = new Map([
  [4400, "This page and the server do not understand each other. Load the page again."],
  [4401, "Your sign-in has ended: nothing was done for too long, or you signed out. Load the page again."],
  [4404, "This session does not exist, or you may not see it any more."],
  [4409, "The log on the server is shorter than the one shown. Load the page again."],
  [4413, "This page and the server do not understand each other. Load the page again."],
]);

export class Stream {
  #socket = null;
  #timer = 0;
  #watchdog = 0;
  #attempts = 0;
  #stopped = false;

  /**
   * `after()` is the newest event that is here; `onEvents` takes more and may throw to start again from there.
   * `onState` hears {state, since, reason}; state is connecting, live, waiting or closed.
   */
  constructor(url, { after, onEvents, onState }) {
    this.url = url;
    this.after = after;
    this.onEvents = onEvents;
    this.onState = onState;
    this.lostAt = null;
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#retryNow());
  }

  open() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.onState({ state: "connecting", since: this.lostAt });
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.addEventListener("open", () => {
      this.#alive();
      socket.send(JSON.stringify({ type: "resume", after: this.after() }));
    });
    socket.addEventListener("message", (message) => this.#take(socket, message.data));
    socket.addEventListener("close", (event) => this.#closed(socket, event));
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    this.#socket?.close();
  }

  #take(socket, text) {
    if (socket !== this.#socket) return;
    this.#alive();
    const message = JSON.parse(text);
    if (message.type === "events") {
      try {
        this.onEvents(message.events);
      } catch (error) {
        console.error(error);
        this.#drop();
        return;
      }
      socket.send(JSON.stringify({ type: "ack", seq: message.last }));
    } else if (message.type === "caught_up") {
      this.#attempts = 0;
      this.lostAt = null;
      this.onState({ state: "live" });
    }
  }

  #alive() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#drop(), QUIET_MS);
  }

  /** End the connection without waiting for the other side, which may not be there. */
  #drop() {
    const socket = this.#socket;
    socket?.close();
    this.#closed(socket, { code: 1006 });
  }

  #closed(socket, event) {
    if (socket === null || socket !== this.#socket || this.#stopped) return;
    clearTimeout(this.#watchdog);
    this.#socket = null;
    if (GIVE_UP.has(event.code)) {
      this.onState({ state: "closed", reason: GIVE_UP.get(event.code) });
      return;
    }
    this.lostAt ??= Date.now();
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempts++);
    const wait = longest * (0.5 + Math.random() / 2); // so that not all browsers come back at once
    this.onState({ state: "waiting", since: this.lostAt });
    this.#timer = setTimeout(() => this.open(), wait);
  }

  #retryNow() {
    if (this.#timer !== 0 && !this.#stopped) this.open();
  }
}
